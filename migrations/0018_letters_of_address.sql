DROP INDEX `workspaces_own_name`;--> statement-breakpoint
CREATE INDEX `outbox_of_address` ON `outbox` (`workspace_id`,`recipient`,`created_at`);
DROP INDEX `outbox_loose`;--> statement-breakpoint
CREATE INDEX `outbox_age` ON `outbox` (`workspace_id`,`created_at`);
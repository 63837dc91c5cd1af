ALTER TABLE `api_keys` ADD `revoked_version` integer;--> statement-breakpoint
CREATE UNIQUE INDEX `api_keys_living_name` ON `api_keys` (`workspace_id`,`name`) WHERE revoked_at IS NULL;
ALTER TABLE `api_keys` ADD `previous_digest` text;--> statement-breakpoint
ALTER TABLE `api_keys` ADD `previous_prefix` text;--> statement-breakpoint
ALTER TABLE `api_keys` ADD `previous_last_four` text;--> statement-breakpoint
ALTER TABLE `api_keys` ADD `previous_until` integer;--> statement-breakpoint
ALTER TABLE `api_keys` ADD `rotated_at` integer;--> statement-breakpoint
ALTER TABLE `api_keys` ADD `warned_days` integer;--> statement-breakpoint
CREATE UNIQUE INDEX `api_keys_previous_digest_unique` ON `api_keys` (`previous_digest`);--> statement-breakpoint
CREATE INDEX `api_keys_expiring` ON `api_keys` (`expires_at`) WHERE revoked_at IS NULL;
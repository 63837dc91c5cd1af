ALTER TABLE `credentials` ADD `restored_at` integer;--> statement-breakpoint
ALTER TABLE `credentials` ADD `retry_at` integer;--> statement-breakpoint
ALTER TABLE `credentials` ADD `refusals` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
CREATE INDEX `credentials_to_retry` ON `credentials` (`retry_at`) WHERE retry_at IS NOT NULL;
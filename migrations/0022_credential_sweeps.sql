ALTER TABLE `credentials` ADD `previous_expires_at` integer;--> statement-breakpoint
CREATE INDEX `credentials_to_forget` ON `credentials` (`previous_until`) WHERE previous_until IS NOT NULL;--> statement-breakpoint
CREATE INDEX `credentials_to_remind` ON `credentials` (`expires_at`) WHERE expires_at IS NOT NULL;
ALTER TABLE `credentials` ADD `provider_type` text DEFAULT 'model' NOT NULL;--> statement-breakpoint
ALTER TABLE `credentials` ADD `options` text DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE `credentials` ADD `expires_at` integer;--> statement-breakpoint
ALTER TABLE `credentials` ADD `expiry_warned_at` integer;--> statement-breakpoint
ALTER TABLE `credentials` ADD `last_used_at` integer;--> statement-breakpoint
ALTER TABLE `credentials` ADD `previous_sealed` text;--> statement-breakpoint
ALTER TABLE `credentials` ADD `previous_secret_version` integer;--> statement-breakpoint
ALTER TABLE `credentials` ADD `previous_data_key_id` text;--> statement-breakpoint
ALTER TABLE `credentials` ADD `previous_masked` text;--> statement-breakpoint
ALTER TABLE `credentials` ADD `previous_fingerprint` text;--> statement-breakpoint
ALTER TABLE `credentials` ADD `previous_until` integer;
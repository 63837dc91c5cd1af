CREATE TABLE `email_codes` (
	`id` text PRIMARY KEY NOT NULL,
	`purpose` text NOT NULL,
	`subject_id` text,
	`email` text NOT NULL,
	`locale` text NOT NULL,
	`secret_id` text NOT NULL,
	`handle_digest` text NOT NULL,
	`network` text NOT NULL,
	`tries` integer DEFAULT 0 NOT NULL,
	`created_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	`used_at` integer
);
--> statement-breakpoint
CREATE UNIQUE INDEX `email_codes_handle` ON `email_codes` (`handle_digest`);--> statement-breakpoint
CREATE INDEX `email_codes_of_address` ON `email_codes` (`email`,`purpose`,`created_at`);--> statement-breakpoint
CREATE INDEX `email_codes_of_network` ON `email_codes` (`network`,`created_at`);--> statement-breakpoint
CREATE INDEX `email_codes_age` ON `email_codes` (`created_at`);--> statement-breakpoint
CREATE TABLE `personal_tokens` (
	`id` text PRIMARY KEY NOT NULL,
	`user_id` text NOT NULL,
	`name` text NOT NULL,
	`digest` text NOT NULL,
	`last_four` text NOT NULL,
	`scopes` text NOT NULL,
	`expires_at` integer NOT NULL,
	`revoked_at` integer,
	`created_at` integer NOT NULL,
	`last_used_at` integer,
	FOREIGN KEY (`user_id`) REFERENCES `user`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE UNIQUE INDEX `personal_tokens_digest_unique` ON `personal_tokens` (`digest`);--> statement-breakpoint
CREATE UNIQUE INDEX `personal_tokens_living_name` ON `personal_tokens` (`user_id`,`name`) WHERE revoked_at IS NULL;--> statement-breakpoint
CREATE INDEX `personal_tokens_listed` ON `personal_tokens` (`user_id`,`created_at`,`id`);--> statement-breakpoint
ALTER TABLE `session` ADD `requestId` text;--> statement-breakpoint
ALTER TABLE `user` ADD `locale` text;--> statement-breakpoint
ALTER TABLE `user` ADD `timezone` text;--> statement-breakpoint
ALTER TABLE `user` ADD `signedUpBy` text;
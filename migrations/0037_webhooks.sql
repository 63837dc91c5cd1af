CREATE TABLE `webhook_deliveries` (
	`id` text PRIMARY KEY NOT NULL,
	`workspace_id` text NOT NULL,
	`webhook_id` text NOT NULL,
	`audit_seq` integer NOT NULL,
	`type` text NOT NULL,
	`state` text NOT NULL,
	`attempts` integer DEFAULT 0 NOT NULL,
	`status` integer,
	`error` text,
	`took_ms` integer,
	`due_at` integer NOT NULL,
	`look_at` integer NOT NULL,
	`attempted_at` integer,
	`created_at` integer NOT NULL,
	FOREIGN KEY (`workspace_id`,`webhook_id`) REFERENCES `webhooks`(`workspace_id`,`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `webhook_deliveries_listed` ON `webhook_deliveries` (`workspace_id`,`webhook_id`,`created_at`,`id`);--> statement-breakpoint
CREATE INDEX `webhook_deliveries_open` ON `webhook_deliveries` (`look_at`) WHERE state = 'queued';--> statement-breakpoint
CREATE INDEX `webhook_deliveries_open_here` ON `webhook_deliveries` (`workspace_id`,`look_at`) WHERE state = 'queued';--> statement-breakpoint
CREATE INDEX `webhook_deliveries_age` ON `webhook_deliveries` (`created_at`);--> statement-breakpoint
CREATE TABLE `webhook_secrets` (
	`id` text PRIMARY KEY NOT NULL,
	`workspace_id` text NOT NULL,
	`webhook_id` text NOT NULL,
	`sealed` text NOT NULL,
	`data_key_id` text NOT NULL,
	`until` integer,
	`created_at` integer NOT NULL,
	FOREIGN KEY (`workspace_id`,`webhook_id`) REFERENCES `webhooks`(`workspace_id`,`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`workspace_id`,`data_key_id`) REFERENCES `data_keys`(`workspace_id`,`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `webhook_secrets_of_webhook` ON `webhook_secrets` (`workspace_id`,`webhook_id`);--> statement-breakpoint
CREATE INDEX `webhook_secrets_by_data_key` ON `webhook_secrets` (`workspace_id`,`data_key_id`);--> statement-breakpoint
CREATE TABLE `webhooks` (
	`id` text PRIMARY KEY NOT NULL,
	`workspace_id` text NOT NULL,
	`url` text NOT NULL,
	`description` text NOT NULL,
	`events` text NOT NULL,
	`state` text NOT NULL,
	`reason` text,
	`failing_since` integer,
	`revision` integer DEFAULT 1 NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	FOREIGN KEY (`workspace_id`) REFERENCES `workspaces`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `webhooks_listed` ON `webhooks` (`workspace_id`,`created_at`,`id`);--> statement-breakpoint
CREATE UNIQUE INDEX `webhooks_in_workspace` ON `webhooks` (`workspace_id`,`id`);
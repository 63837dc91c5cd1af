CREATE TABLE `tool_providers` (
	`id` text PRIMARY KEY NOT NULL,
	`workspace_id` text NOT NULL,
	`kind` text NOT NULL,
	`name` text NOT NULL,
	`title` text NOT NULL,
	`description` text NOT NULL,
	`base_url` text NOT NULL,
	`origin` text NOT NULL,
	`auth` text NOT NULL,
	`source_url` text,
	`base_override` text,
	`digest` text,
	`credential_id` text,
	`timeout_seconds` integer NOT NULL,
	`enabled` integer DEFAULT true NOT NULL,
	`refreshed_at` integer,
	`refresh_error` text,
	`revision` integer DEFAULT 1 NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	FOREIGN KEY (`workspace_id`) REFERENCES `workspaces`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `tool_providers_stale` ON `tool_providers` (`kind`,`refreshed_at`);--> statement-breakpoint
CREATE UNIQUE INDEX `tool_providers_in_workspace` ON `tool_providers` (`workspace_id`,`id`);--> statement-breakpoint
CREATE UNIQUE INDEX `tool_providers_name` ON `tool_providers` (`workspace_id`,`name`);--> statement-breakpoint
CREATE TABLE `tools` (
	`workspace_id` text NOT NULL,
	`provider_id` text NOT NULL,
	`name` text NOT NULL,
	`title` text,
	`description` text NOT NULL,
	`input_schema` text NOT NULL,
	`call` text NOT NULL,
	`enabled` integer DEFAULT true NOT NULL,
	`position` integer NOT NULL,
	PRIMARY KEY(`workspace_id`, `provider_id`, `name`),
	FOREIGN KEY (`workspace_id`,`provider_id`) REFERENCES `tool_providers`(`workspace_id`,`id`) ON UPDATE no action ON DELETE cascade
);

CREATE TABLE `default_models` (
	`workspace_id` text NOT NULL,
	`type` text NOT NULL,
	`provider_name` text,
	`model` text,
	`pool_id` text,
	`revision` integer NOT NULL,
	PRIMARY KEY(`workspace_id`, `type`),
	FOREIGN KEY (`workspace_id`) REFERENCES `workspaces`(`id`) ON UPDATE no action ON DELETE no action,
	FOREIGN KEY (`workspace_id`,`pool_id`) REFERENCES `pools`(`workspace_id`,`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE TABLE `models` (
	`workspace_id` text NOT NULL,
	`provider_name` text NOT NULL,
	`model` text NOT NULL,
	`is_custom` integer NOT NULL,
	`type` text NOT NULL,
	`title` text,
	`context_window` integer,
	`max_output` integer,
	`price` text,
	`enabled` integer NOT NULL,
	`credential_ids` text,
	`revision` integer NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	PRIMARY KEY(`workspace_id`, `provider_name`, `model`),
	FOREIGN KEY (`workspace_id`) REFERENCES `workspaces`(`id`) ON UPDATE no action ON DELETE no action
);

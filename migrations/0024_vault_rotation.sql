CREATE TABLE `data_key_rotations` (
	`workspace_id` text PRIMARY KEY NOT NULL,
	`data_key_id` text NOT NULL,
	`state` text NOT NULL,
	`total` integer NOT NULL,
	`clean_version` integer,
	`waiting_until` integer,
	`started_at` integer NOT NULL,
	`finished_at` integer,
	`last_error` text,
	FOREIGN KEY (`workspace_id`) REFERENCES `workspaces`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `data_key_rotations_open` ON `data_key_rotations` (`waiting_until`) WHERE state <> 'done';--> statement-breakpoint
CREATE TABLE `keyring_entries` (
	`id` text PRIMARY KEY NOT NULL,
	`state` text NOT NULL,
	`first_seen_at` integer NOT NULL,
	`used_at` integer,
	`left_at` integer
);
--> statement-breakpoint
CREATE UNIQUE INDEX `keyring_entries_one_primary` ON `keyring_entries` (`state`) WHERE state = 'primary';--> statement-breakpoint
CREATE TABLE `keyring_reports` (
	`version_id` text PRIMARY KEY NOT NULL,
	`ids` text NOT NULL,
	`primary_id` text NOT NULL,
	`seen_at` integer NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `data_keys_one_active` ON `data_keys` (`workspace_id`) WHERE state = 'active';
CREATE TABLE `audit_targets` (
	`workspace_id` text NOT NULL,
	`target_id` text NOT NULL,
	`seq` integer NOT NULL,
	PRIMARY KEY(`workspace_id`, `target_id`, `seq`)
);
--> statement-breakpoint
CREATE TABLE `audit_throttle` (
	`workspace_id` text NOT NULL,
	`name` text NOT NULL,
	`at` integer NOT NULL,
	`count` integer DEFAULT 1 NOT NULL,
	PRIMARY KEY(`workspace_id`, `name`)
);
--> statement-breakpoint
CREATE INDEX `audit_throttle_age` ON `audit_throttle` (`at`);--> statement-breakpoint
CREATE TABLE `audit_tiles` (
	`workspace_id` text NOT NULL,
	`level` integer NOT NULL,
	`tile` integer NOT NULL,
	`hashes` text NOT NULL,
	`seqs` text,
	`first_seq` integer,
	PRIMARY KEY(`workspace_id`, `level`, `tile`)
);
--> statement-breakpoint
CREATE INDEX `audit_tiles_by_seq` ON `audit_tiles` (`workspace_id`,`first_seq`) WHERE level = 0;--> statement-breakpoint
CREATE TABLE `audit_trees` (
	`workspace_id` text PRIMARY KEY NOT NULL,
	`newest_seq` integer NOT NULL,
	`size` integer DEFAULT 0 NOT NULL,
	`sealed_seq` integer DEFAULT 0 NOT NULL,
	`signed_size` integer DEFAULT 0 NOT NULL,
	`sealed_at` integer DEFAULT 0 NOT NULL,
	`pruned_size` integer DEFAULT 0 NOT NULL,
	`pruned_seq` integer DEFAULT 0 NOT NULL,
	`pruned_note` text,
	`compared_to` integer DEFAULT 0 NOT NULL,
	`cared_at` integer DEFAULT 0 NOT NULL,
	`fault` text,
	`fault_seq` integer,
	`fault_at` integer,
	`mailed_at` integer DEFAULT 0 NOT NULL
);
--> statement-breakpoint
CREATE INDEX `audit_trees_open` ON `audit_trees` (`sealed_at`) WHERE fault IS NULL AND (sealed_seq < newest_seq OR signed_size < size);--> statement-breakpoint
CREATE INDEX `audit_trees_cared` ON `audit_trees` (`cared_at`);--> statement-breakpoint
CREATE INDEX `audit_by_actor` ON `audit_log` (`workspace_id`,`actor_id`,`seq`);--> statement-breakpoint
CREATE INDEX `audit_by_action` ON `audit_log` (`workspace_id`,`action`,`seq`);--> statement-breakpoint
CREATE INDEX `audit_by_outcome` ON `audit_log` (`workspace_id`,`outcome`,`seq`) WHERE outcome <> 'success';--> statement-breakpoint
CREATE INDEX `audit_by_time` ON `audit_log` (`workspace_id`,`time`);
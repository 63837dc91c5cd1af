CREATE TABLE `ownership_transfers` (
	`id` text PRIMARY KEY NOT NULL,
	`workspace_id` text NOT NULL,
	`from_member_id` text NOT NULL,
	`to_member_id` text NOT NULL,
	`state` text DEFAULT 'pending' NOT NULL,
	`created_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	`closed_at` integer,
	FOREIGN KEY (`workspace_id`,`from_member_id`) REFERENCES `members`(`workspace_id`,`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`workspace_id`,`to_member_id`) REFERENCES `members`(`workspace_id`,`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE UNIQUE INDEX `ownership_transfers_one_pending` ON `ownership_transfers` (`workspace_id`) WHERE state = 'pending';--> statement-breakpoint
CREATE INDEX `ownership_transfers_of_workspace` ON `ownership_transfers` (`workspace_id`,`created_at`,`id`);--> statement-breakpoint
ALTER TABLE `members` ADD `last_active_at` integer;--> statement-breakpoint
ALTER TABLE `members` ADD `search_name` text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE `members` ADD `search_email` text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE `members` ADD `revision` integer DEFAULT 1 NOT NULL;--> statement-breakpoint
CREATE INDEX `members_listed` ON `members` (`workspace_id`,`created_at`,`id`) WHERE removed_at IS NULL;--> statement-breakpoint
CREATE INDEX `members_by_role` ON `members` (`workspace_id`,`role`,`created_at`,`id`) WHERE removed_at IS NULL;--> statement-breakpoint
CREATE INDEX `members_by_name` ON `members` (`workspace_id`,`search_name`,`id`) WHERE removed_at IS NULL;--> statement-breakpoint
CREATE INDEX `members_by_email` ON `members` (`workspace_id`,`search_email`,`id`) WHERE removed_at IS NULL;--> statement-breakpoint
ALTER TABLE `workspaces` ADD `seat_limit` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE `workspaces` ADD `living_members` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
CREATE INDEX `invites_open` ON `invites` (`workspace_id`,`expires_at`) WHERE state = 'pending';--> statement-breakpoint
CREATE INDEX `invites_sent_by` ON `invites` (`workspace_id`,`invited_by`) WHERE state = 'pending';
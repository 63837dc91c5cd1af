CREATE TABLE `current_workspaces` (
	`user_id` text PRIMARY KEY NOT NULL,
	`workspace_id` text NOT NULL,
	`chosen_at` integer NOT NULL,
	FOREIGN KEY (`user_id`) REFERENCES `user`(`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`workspace_id`) REFERENCES `workspaces`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `current_workspaces_of_workspace` ON `current_workspaces` (`workspace_id`);--> statement-breakpoint
ALTER TABLE `workspaces` ADD `purge_state` text;--> statement-breakpoint
ALTER TABLE `workspaces` ADD `purge_state_at` integer;--> statement-breakpoint
CREATE INDEX `workspaces_deleted` ON `workspaces` (`deleted_at`) WHERE deleted_at IS NOT NULL;
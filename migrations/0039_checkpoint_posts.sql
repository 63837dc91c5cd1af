ALTER TABLE `audit_trees` ADD `posted_at` integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE `audit_trees` ADD `posted_size` integer DEFAULT 0 NOT NULL;
CREATE TABLE `budget_notices` (
	`workspace_id` text NOT NULL,
	`scope` text NOT NULL,
	`span` text NOT NULL,
	`span_start` integer NOT NULL,
	`threshold` integer NOT NULL,
	`id` text NOT NULL,
	`spent` integer NOT NULL,
	`budget` integer NOT NULL,
	`created_at` integer NOT NULL,
	PRIMARY KEY(`workspace_id`, `scope`, `span`, `span_start`, `threshold`)
);
--> statement-breakpoint
CREATE UNIQUE INDEX `budget_notices_id_unique` ON `budget_notices` (`id`);--> statement-breakpoint
CREATE INDEX `budget_notices_age` ON `budget_notices` (`workspace_id`,`created_at`);
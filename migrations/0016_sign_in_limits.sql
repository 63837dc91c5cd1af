CREATE TABLE `code_networks` (
	`email` text NOT NULL,
	`network` text NOT NULL,
	`seen_at` integer NOT NULL,
	PRIMARY KEY(`email`, `network`)
);
--> statement-breakpoint
CREATE INDEX `code_networks_age` ON `code_networks` (`seen_at`);--> statement-breakpoint
CREATE INDEX `idempotency_of_workspace` ON `idempotency` (`workspace_id`);--> statement-breakpoint
CREATE UNIQUE INDEX `account_of_provider` ON `account` (`providerId`,`accountId`);--> statement-breakpoint
CREATE INDEX `outbox_of_workspace` ON `outbox` (`workspace_id`,`id`);--> statement-breakpoint
CREATE INDEX `outbox_loose` ON `outbox` (`created_at`) WHERE workspace_id IS NULL;--> statement-breakpoint
CREATE INDEX `invites_by_id` ON `invites` (`workspace_id`,`id`);
CREATE TABLE `audit_log` (
	`seq` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`id` text NOT NULL,
	`workspace_id` text,
	`time` integer NOT NULL,
	`actor_type` text NOT NULL,
	`actor_id` text NOT NULL,
	`actor_name` text NOT NULL,
	`action` text NOT NULL,
	`targets` text NOT NULL,
	`before` text,
	`after` text,
	`outcome` text NOT NULL,
	`request_id` text NOT NULL,
	`ip` text,
	`op_id` text NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `audit_log_id_unique` ON `audit_log` (`id`);--> statement-breakpoint
CREATE INDEX `audit_of_workspace` ON `audit_log` (`workspace_id`,`seq`);--> statement-breakpoint
CREATE TABLE `credentials` (
	`id` text PRIMARY KEY NOT NULL,
	`workspace_id` text NOT NULL,
	`provider_name` text NOT NULL,
	`name` text NOT NULL,
	`base_url` text NOT NULL,
	`origin` text NOT NULL,
	`sealed` text NOT NULL,
	`secret_version` integer DEFAULT 1 NOT NULL,
	`data_key_id` text NOT NULL,
	`masked` text NOT NULL,
	`fingerprint` text NOT NULL,
	`status` text NOT NULL,
	`is_valid` integer,
	`reason` text,
	`validated_at` integer,
	`revision` integer DEFAULT 1 NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	FOREIGN KEY (`workspace_id`) REFERENCES `workspaces`(`id`) ON UPDATE no action ON DELETE no action,
	FOREIGN KEY (`workspace_id`,`data_key_id`) REFERENCES `data_keys`(`workspace_id`,`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `credentials_listed` ON `credentials` (`workspace_id`,`provider_name`,`created_at`,`id`);--> statement-breakpoint
CREATE INDEX `credentials_same` ON `credentials` (`workspace_id`,`fingerprint`);--> statement-breakpoint
CREATE UNIQUE INDEX `credentials_in_workspace` ON `credentials` (`workspace_id`,`id`);--> statement-breakpoint
CREATE UNIQUE INDEX `credentials_name` ON `credentials` (`workspace_id`,`provider_name`,`name`);--> statement-breakpoint
CREATE TABLE `pool_instances` (
	`id` text PRIMARY KEY NOT NULL,
	`workspace_id` text NOT NULL,
	`pool_id` text NOT NULL,
	`position` integer NOT NULL,
	`alias` text NOT NULL,
	`provider_name` text NOT NULL,
	`model` text NOT NULL,
	`credential_id` text NOT NULL,
	`weight` integer NOT NULL,
	`priority` integer DEFAULT 0 NOT NULL,
	`enabled` integer DEFAULT true NOT NULL,
	FOREIGN KEY (`workspace_id`,`pool_id`) REFERENCES `pools`(`workspace_id`,`id`) ON UPDATE no action ON DELETE cascade,
	FOREIGN KEY (`workspace_id`,`credential_id`) REFERENCES `credentials`(`workspace_id`,`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `pool_instances_by_credential` ON `pool_instances` (`workspace_id`,`credential_id`);--> statement-breakpoint
CREATE UNIQUE INDEX `pool_instances_alias` ON `pool_instances` (`workspace_id`,`pool_id`,`alias`);--> statement-breakpoint
CREATE TABLE `pools` (
	`id` text PRIMARY KEY NOT NULL,
	`workspace_id` text NOT NULL,
	`name` text NOT NULL,
	`strategy` text NOT NULL,
	`policy` text NOT NULL,
	`fallbacks` text NOT NULL,
	`revision` integer DEFAULT 1 NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	FOREIGN KEY (`workspace_id`) REFERENCES `workspaces`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `pools_listed` ON `pools` (`workspace_id`,`created_at`,`id`);--> statement-breakpoint
CREATE UNIQUE INDEX `pools_in_workspace` ON `pools` (`workspace_id`,`id`);--> statement-breakpoint
CREATE UNIQUE INDEX `pools_name` ON `pools` (`workspace_id`,`name`);--> statement-breakpoint
CREATE TABLE `idempotency` (
	`id` text PRIMARY KEY NOT NULL,
	`request_hash` text NOT NULL,
	`token` text NOT NULL,
	`lease_until` integer NOT NULL,
	`status` integer,
	`headers` text,
	`body` text,
	`sealed` integer DEFAULT false NOT NULL,
	`workspace_id` text,
	`created_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `idempotency_age` ON `idempotency` (`created_at`);--> statement-breakpoint
CREATE TABLE `account` (
	`id` text PRIMARY KEY NOT NULL,
	`accountId` text NOT NULL,
	`providerId` text NOT NULL,
	`userId` text NOT NULL,
	`accessToken` text,
	`refreshToken` text,
	`idToken` text,
	`accessTokenExpiresAt` text,
	`refreshTokenExpiresAt` text,
	`scope` text,
	`password` text,
	`createdAt` text NOT NULL,
	`updatedAt` text NOT NULL,
	FOREIGN KEY (`userId`) REFERENCES `user`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `account_user` ON `account` (`userId`);--> statement-breakpoint
CREATE TABLE `session` (
	`id` text PRIMARY KEY NOT NULL,
	`expiresAt` text NOT NULL,
	`token` text NOT NULL,
	`createdAt` text NOT NULL,
	`updatedAt` text NOT NULL,
	`ipAddress` text,
	`userAgent` text,
	`userId` text NOT NULL,
	FOREIGN KEY (`userId`) REFERENCES `user`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE UNIQUE INDEX `session_token_unique` ON `session` (`token`);--> statement-breakpoint
CREATE INDEX `session_user` ON `session` (`userId`);--> statement-breakpoint
CREATE TABLE `setup` (
	`id` integer PRIMARY KEY NOT NULL,
	`account_id` text NOT NULL,
	`at` integer NOT NULL,
	CONSTRAINT "setup_once" CHECK("setup"."id" = 1)
);
--> statement-breakpoint
CREATE TABLE `user` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`email` text NOT NULL,
	`emailVerified` integer DEFAULT false NOT NULL,
	`image` text,
	`createdAt` text NOT NULL,
	`updatedAt` text NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `user_email_unique` ON `user` (`email`);--> statement-breakpoint
CREATE TABLE `verification` (
	`id` text PRIMARY KEY NOT NULL,
	`identifier` text NOT NULL,
	`value` text NOT NULL,
	`expiresAt` text NOT NULL,
	`createdAt` text NOT NULL,
	`updatedAt` text NOT NULL
);
--> statement-breakpoint
CREATE INDEX `verification_identifier` ON `verification` (`identifier`);--> statement-breakpoint
CREATE TABLE `api_keys` (
	`id` text PRIMARY KEY NOT NULL,
	`workspace_id` text NOT NULL,
	`name` text NOT NULL,
	`digest` text NOT NULL,
	`prefix` text NOT NULL,
	`last_four` text NOT NULL,
	`scopes` text NOT NULL,
	`limits` text NOT NULL,
	`region` text NOT NULL,
	`made_by` text NOT NULL,
	`expires_at` integer,
	`revoked_at` integer,
	`created_at` integer NOT NULL,
	`last_used_at` integer,
	`revision` integer DEFAULT 1 NOT NULL,
	FOREIGN KEY (`workspace_id`,`made_by`) REFERENCES `members`(`workspace_id`,`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `api_keys_digest_unique` ON `api_keys` (`digest`);--> statement-breakpoint
CREATE INDEX `api_keys_listed` ON `api_keys` (`workspace_id`,`created_at`,`id`);--> statement-breakpoint
CREATE INDEX `api_keys_of_member` ON `api_keys` (`workspace_id`,`made_by`);--> statement-breakpoint
CREATE UNIQUE INDEX `api_keys_in_workspace` ON `api_keys` (`workspace_id`,`id`);--> statement-breakpoint
CREATE TABLE `outbox` (
	`id` text PRIMARY KEY NOT NULL,
	`kind` text NOT NULL,
	`workspace_id` text,
	`subject_id` text NOT NULL,
	`version` integer NOT NULL,
	`recipient` text NOT NULL,
	`state` text DEFAULT 'queued' NOT NULL,
	`reason` text,
	`attempts` integer DEFAULT 0 NOT NULL,
	`created_at` integer NOT NULL,
	`enqueued_at` integer,
	`sent_at` integer
);
--> statement-breakpoint
CREATE INDEX `outbox_open` ON `outbox` (`created_at`) WHERE state = 'queued';--> statement-breakpoint
CREATE INDEX `outbox_subject` ON `outbox` (`subject_id`,`version`);--> statement-breakpoint
CREATE INDEX `outbox_newest` ON `outbox` (`created_at`,`id`);--> statement-breakpoint
CREATE TABLE `invites` (
	`id` text PRIMARY KEY NOT NULL,
	`workspace_id` text NOT NULL,
	`email` text NOT NULL,
	`role` text NOT NULL,
	`locale` text NOT NULL,
	`state` text DEFAULT 'pending' NOT NULL,
	`version` integer DEFAULT 1 NOT NULL,
	`invited_by` text NOT NULL,
	`accepted_by` text,
	`created_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	`closed_at` integer,
	FOREIGN KEY (`workspace_id`) REFERENCES `workspaces`(`id`) ON UPDATE no action ON DELETE no action,
	FOREIGN KEY (`workspace_id`,`invited_by`) REFERENCES `members`(`workspace_id`,`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `invites_one_pending` ON `invites` (`workspace_id`,`email`) WHERE state = 'pending';--> statement-breakpoint
CREATE INDEX `invites_of_workspace` ON `invites` (`workspace_id`,`created_at`,`id`);--> statement-breakpoint
CREATE TABLE `members` (
	`id` text PRIMARY KEY NOT NULL,
	`workspace_id` text NOT NULL,
	`user_id` text NOT NULL,
	`role` text NOT NULL,
	`created_at` integer NOT NULL,
	`removed_at` integer,
	FOREIGN KEY (`workspace_id`) REFERENCES `workspaces`(`id`) ON UPDATE no action ON DELETE no action,
	FOREIGN KEY (`user_id`) REFERENCES `user`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE UNIQUE INDEX `members_once` ON `members` (`workspace_id`,`user_id`) WHERE removed_at IS NULL;--> statement-breakpoint
CREATE INDEX `members_of_user` ON `members` (`user_id`,`workspace_id`);--> statement-breakpoint
CREATE UNIQUE INDEX `members_in_workspace` ON `members` (`workspace_id`,`id`);--> statement-breakpoint
CREATE TABLE `workspaces` (
	`id` text PRIMARY KEY NOT NULL,
	`slug` text NOT NULL,
	`name` text NOT NULL,
	`name_key` text NOT NULL,
	`created_by` text NOT NULL,
	`owner_member_id` text NOT NULL,
	`settings` text NOT NULL,
	`region` text DEFAULT 'auto' NOT NULL,
	`config_epoch` integer DEFAULT 1 NOT NULL,
	`config_version` integer DEFAULT 1 NOT NULL,
	`applied_version` integer DEFAULT 0 NOT NULL,
	`revision` integer DEFAULT 1 NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	`deleted_at` integer,
	FOREIGN KEY (`created_by`) REFERENCES `user`(`id`) ON UPDATE no action ON DELETE no action,
	FOREIGN KEY (`id`,`owner_member_id`) REFERENCES `members`(`workspace_id`,`id`) DEFERRABLE INITIALLY DEFERRED
);
--> statement-breakpoint
CREATE UNIQUE INDEX `workspaces_slug_unique` ON `workspaces` (`slug`);--> statement-breakpoint
CREATE UNIQUE INDEX `workspaces_own_name` ON `workspaces` (`created_by`,`name_key`) WHERE deleted_at IS NULL;--> statement-breakpoint
CREATE INDEX `workspaces_unapplied` ON `workspaces` (`id`) WHERE applied_version < config_version;--> statement-breakpoint
CREATE TABLE `data_keys` (
	`id` text PRIMARY KEY NOT NULL,
	`workspace_id` text NOT NULL,
	`keyring_id` text NOT NULL,
	`wrapped` text NOT NULL,
	`state` text NOT NULL,
	`created_at` integer NOT NULL,
	FOREIGN KEY (`workspace_id`) REFERENCES `workspaces`(`id`) ON UPDATE no action ON DELETE no action
);
--> statement-breakpoint
CREATE INDEX `data_keys_by_keyring` ON `data_keys` (`keyring_id`);--> statement-breakpoint
CREATE UNIQUE INDEX `data_keys_in_workspace` ON `data_keys` (`workspace_id`,`id`);
-- Sessions and sign-ups are also written by better-auth, outside our batches: triggers write their audit rows, so that no way in goes untold.
CREATE TRIGGER `session_audit_insert` AFTER INSERT ON `session` BEGIN
	INSERT INTO `audit_log` (`id`, `workspace_id`, `time`, `actor_type`, `actor_id`, `actor_name`, `action`, `targets`, `before`, `after`, `outcome`, `request_id`, `ip`, `op_id`)
	SELECT 'aud_0' || substr(lower(hex(randomblob(13))), 2), NULL, CAST(round(unixepoch(NEW.`createdAt`, 'subsec') * 1000) AS INTEGER),
		'account', NEW.`userId`, coalesce((SELECT `name` FROM `user` WHERE `id` = NEW.`userId`), ''), 'session.created',
		json_array(json_object('type', 'session', 'id', NEW.`id`)), NULL, json_object('user_agent', NEW.`userAgent`), 'success',
		coalesce(NEW.`requestId`, ''), NEW.`ipAddress`, '';
END;
--> statement-breakpoint
CREATE TRIGGER `user_audit_insert` AFTER INSERT ON `user` WHEN NEW.`signedUpBy` IS NOT NULL BEGIN
	INSERT INTO `audit_log` (`id`, `workspace_id`, `time`, `actor_type`, `actor_id`, `actor_name`, `action`, `targets`, `before`, `after`, `outcome`, `request_id`, `ip`, `op_id`)
	SELECT 'aud_0' || substr(lower(hex(randomblob(13))), 2), NULL, CAST(round(unixepoch(NEW.`createdAt`, 'subsec') * 1000) AS INTEGER),
		'account', NEW.`id`, NEW.`name`, 'account.created', json_array(json_object('type', 'account', 'id', NEW.`id`)),
		NULL, json_object('email', NEW.`email`, 'name', NEW.`name`, 'provider', NEW.`signedUpBy`), 'success', '', NULL, '';
END;
--> statement-breakpoint
-- Only better-auth links a provider's identity to an account.
CREATE TRIGGER `account_audit_insert` AFTER INSERT ON `account` BEGIN
	INSERT INTO `audit_log` (`id`, `workspace_id`, `time`, `actor_type`, `actor_id`, `actor_name`, `action`, `targets`, `before`, `after`, `outcome`, `request_id`, `ip`, `op_id`)
	SELECT 'aud_0' || substr(lower(hex(randomblob(13))), 2), NULL, CAST(round(unixepoch(NEW.`createdAt`, 'subsec') * 1000) AS INTEGER),
		'account', NEW.`userId`, coalesce((SELECT `name` FROM `user` WHERE `id` = NEW.`userId`), ''), 'identity.linked',
		json_array(json_object('type', 'account', 'id', NEW.`userId`), json_object('type', 'identity', 'id', NEW.`id`)),
		NULL, json_object('provider', NEW.`providerId`), 'success', '', NULL, '';
END;
--> statement-breakpoint
-- A revoked personal token stays revoked, and no token becomes another's.
CREATE TRIGGER `personal_tokens_stay_revoked` BEFORE UPDATE ON `personal_tokens`
WHEN (OLD.`revoked_at` IS NOT NULL AND NEW.`revoked_at` IS NOT OLD.`revoked_at`) OR NEW.`digest` <> OLD.`digest` OR NEW.`user_id` <> OLD.`user_id` OR NEW.`expires_at` > OLD.`expires_at` BEGIN
	SELECT RAISE(ABORT, 'a revoked token stays revoked and none changes hands');
END;

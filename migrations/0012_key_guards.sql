-- What a key was it can become less of, never more: revoked stays revoked and keeps its secrets, no life gets longer, no scope is added.
DROP TRIGGER `api_keys_stay_revoked`;
--> statement-breakpoint
CREATE TRIGGER `api_keys_stay_revoked` BEFORE UPDATE ON `api_keys`
WHEN (OLD.`revoked_at` IS NOT NULL AND NEW.`revoked_at` IS NOT OLD.`revoked_at`) OR NEW.`region` <> OLD.`region` OR NEW.`id` <> OLD.`id`
	OR NEW.`workspace_id` <> OLD.`workspace_id` OR NEW.`made_by` <> OLD.`made_by` BEGIN
	SELECT RAISE(ABORT, 'a revoked key stays revoked, and neither its region nor its maker ever changes');
END;
--> statement-breakpoint
CREATE TRIGGER `api_keys_never_revive` BEFORE UPDATE OF `digest`, `previous_digest`, `previous_until` ON `api_keys`
WHEN OLD.`revoked_at` IS NOT NULL AND (NEW.`digest` <> OLD.`digest` OR NEW.`previous_digest` IS NOT OLD.`previous_digest`
	OR NEW.`previous_until` IS NOT OLD.`previous_until`) BEGIN
	SELECT RAISE(ABORT, 'guard:key_not_active');
END;
--> statement-breakpoint
CREATE TRIGGER `api_keys_never_lengthen` BEFORE UPDATE OF `expires_at`, `previous_digest`, `previous_until` ON `api_keys`
WHEN (OLD.`expires_at` IS NOT NULL AND (NEW.`expires_at` IS NULL OR NEW.`expires_at` > OLD.`expires_at`))
	OR (NEW.`previous_digest` IS NOT NULL AND NEW.`previous_digest` IS NOT OLD.`previous_digest` AND NEW.`previous_digest` <> OLD.`digest`)
	OR (NEW.`previous_digest` IS OLD.`previous_digest` AND NEW.`previous_until` > OLD.`previous_until`) BEGIN
	SELECT RAISE(ABORT, 'no secret of a key lives longer than it had');
END;
--> statement-breakpoint
CREATE TRIGGER `api_keys_never_widen` BEFORE UPDATE OF `scopes` ON `api_keys`
WHEN EXISTS (SELECT 1 FROM json_each(NEW.`scopes`) WHERE `value` NOT IN (SELECT `value` FROM json_each(OLD.`scopes`))) BEGIN
	SELECT RAISE(ABORT, 'guard:scope_too_high');
END;
--> statement-breakpoint
-- A rotation is news for the Router, for both secrets. One trigger does all: the order of two is not defined.
DROP TRIGGER `api_keys_publish_update`;
--> statement-breakpoint
CREATE TRIGGER `api_keys_publish_update` AFTER UPDATE OF `digest`, `previous_digest`, `previous_until`, `scopes`, `limits`, `expires_at`, `revoked_at`, `made_by` ON `api_keys` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`workspace_id`;
	UPDATE `api_keys` SET `revoked_version` = (SELECT `config_version` FROM `workspaces` WHERE `id` = NEW.`workspace_id`)
	WHERE `id` = NEW.`id` AND `revoked_at` IS NOT NULL AND `revoked_version` IS NULL;
END;

-- A guard is a row that is never stored: inserting one rolls the whole batch back with its code.
CREATE TABLE `guards` (`code` text NOT NULL);
--> statement-breakpoint
CREATE TRIGGER `guards_refuse` BEFORE INSERT ON `guards` BEGIN
	SELECT RAISE(ABORT, 'guard:' || NEW.`code`);
END;
--> statement-breakpoint
-- The audit log is append-only. INSERT OR REPLACE deletes without a DELETE trigger, so inserting over a row is refused too.
CREATE TRIGGER `audit_log_no_update` BEFORE UPDATE ON `audit_log` BEGIN
	SELECT RAISE(ABORT, 'audit_log is append-only');
END;
--> statement-breakpoint
CREATE TRIGGER `audit_log_no_delete` BEFORE DELETE ON `audit_log` BEGIN
	SELECT RAISE(ABORT, 'audit_log is append-only');
END;
--> statement-breakpoint
CREATE TRIGGER `audit_log_no_replace` BEFORE INSERT ON `audit_log`
WHEN EXISTS (SELECT 1 FROM `audit_log` WHERE `id` = NEW.`id` OR `seq` = NEW.`seq`) BEGIN
	SELECT RAISE(ABORT, 'audit_log is append-only');
END;
--> statement-breakpoint
-- Sticky revocation: a revoked key is never un-revoked, and neither its digest nor its region ever changes.
CREATE TRIGGER `api_keys_stay_revoked` BEFORE UPDATE ON `api_keys`
WHEN (OLD.`revoked_at` IS NOT NULL AND NEW.`revoked_at` IS NOT OLD.`revoked_at`) OR NEW.`region` <> OLD.`region` OR NEW.`id` <> OLD.`id` BEGIN
	SELECT RAISE(ABORT, 'a revoked key stays revoked and a region never changes');
END;
--> statement-breakpoint
-- Every change of what the hot path reads moves the workspace's version, so no statement can forget to.
CREATE TRIGGER `api_keys_publish_insert` AFTER INSERT ON `api_keys` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `api_keys_publish_delete` AFTER DELETE ON `api_keys` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = OLD.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `api_keys_publish_update` AFTER UPDATE OF `digest`, `scopes`, `limits`, `expires_at`, `revoked_at`, `made_by` ON `api_keys` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `credentials_publish_insert` AFTER INSERT ON `credentials` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `credentials_publish_delete` AFTER DELETE ON `credentials` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = OLD.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `credentials_publish_update` AFTER UPDATE OF `provider_name`, `base_url`, `origin`, `sealed`, `secret_version`, `data_key_id`, `status`, `validated_at` ON `credentials` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `pools_publish_insert` AFTER INSERT ON `pools` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `pools_publish_delete` AFTER DELETE ON `pools` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = OLD.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `pools_publish_update` AFTER UPDATE OF `name`, `strategy`, `policy`, `fallbacks` ON `pools` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `pool_instances_publish_insert` AFTER INSERT ON `pool_instances` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `pool_instances_publish_delete` AFTER DELETE ON `pool_instances` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = OLD.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `pool_instances_publish_update` AFTER UPDATE OF `position`, `alias`, `provider_name`, `model`, `credential_id`, `weight`, `priority`, `enabled` ON `pool_instances` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `data_keys_publish_insert` AFTER INSERT ON `data_keys` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `data_keys_publish_delete` AFTER DELETE ON `data_keys` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = OLD.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `data_keys_publish_update` AFTER UPDATE OF `wrapped`, `keyring_id`, `state` ON `data_keys` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `members_publish_update` AFTER UPDATE OF `role`, `removed_at` ON `members` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `workspaces_publish_update` AFTER UPDATE OF `owner_member_id`, `deleted_at` ON `workspaces` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`id`;
END;
--> statement-breakpoint
-- The owner is a living member.
CREATE TRIGGER `members_owner_stays` BEFORE UPDATE OF `removed_at` ON `members`
WHEN NEW.`removed_at` IS NOT NULL AND EXISTS (SELECT 1 FROM `workspaces` WHERE `id` = NEW.`workspace_id` AND `owner_member_id` = NEW.`id`) BEGIN
	SELECT RAISE(ABORT, 'the owner cannot be removed');
END;

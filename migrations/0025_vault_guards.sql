-- Every entry that wraps a data key is known, and says that it is in use: no statement can forget to.
CREATE TRIGGER `data_keys_enter_insert` AFTER INSERT ON `data_keys` BEGIN
	INSERT INTO `keyring_entries` (`id`, `state`, `first_seen_at`, `used_at`) VALUES (NEW.`keyring_id`, 'known', NEW.`created_at`, NEW.`created_at`)
	ON CONFLICT (`id`) DO UPDATE SET `used_at` = coalesce(`used_at`, excluded.`used_at`), `left_at` = NULL WHERE `used_at` IS NULL OR `left_at` IS NOT NULL;
END;
--> statement-breakpoint
CREATE TRIGGER `data_keys_enter_update` AFTER UPDATE OF `keyring_id` ON `data_keys` WHEN NEW.`keyring_id` <> OLD.`keyring_id` BEGIN
	INSERT INTO `keyring_entries` (`id`, `state`, `first_seen_at`, `used_at`) VALUES (NEW.`keyring_id`, 'known', unixepoch() * 1000, unixepoch() * 1000)
	ON CONFLICT (`id`) DO UPDATE SET `used_at` = coalesce(`used_at`, excluded.`used_at`), `left_at` = NULL WHERE `used_at` IS NULL OR `left_at` IS NOT NULL;
END;
--> statement-breakpoint
INSERT INTO `keyring_entries` (`id`, `state`, `first_seen_at`, `used_at`)
SELECT `keyring_id`, 'known', min(`created_at`), min(`created_at`) FROM `data_keys` GROUP BY `keyring_id`;
--> statement-breakpoint
-- A secret kept for a rollback names its data key too. A foreign key there would need the table rebuilt.
CREATE TRIGGER `credentials_previous_key_insert` BEFORE INSERT ON `credentials`
WHEN NEW.`previous_data_key_id` IS NOT NULL AND NOT EXISTS (SELECT 1 FROM `data_keys` WHERE `workspace_id` = NEW.`workspace_id` AND `id` = NEW.`previous_data_key_id`) BEGIN
	SELECT RAISE(ABORT, 'guard:conflict');
END;
--> statement-breakpoint
CREATE TRIGGER `credentials_previous_key_update` BEFORE UPDATE OF `previous_data_key_id`, `workspace_id` ON `credentials`
WHEN NEW.`previous_data_key_id` IS NOT NULL AND NOT EXISTS (SELECT 1 FROM `data_keys` WHERE `workspace_id` = NEW.`workspace_id` AND `id` = NEW.`previous_data_key_id`) BEGIN
	SELECT RAISE(ABORT, 'guard:conflict');
END;
--> statement-breakpoint
CREATE TRIGGER `data_keys_in_use` BEFORE DELETE ON `data_keys`
WHEN EXISTS (SELECT 1 FROM `credentials` WHERE `workspace_id` = OLD.`workspace_id` AND `previous_data_key_id` = OLD.`id`) BEGIN
	SELECT RAISE(ABORT, 'guard:conflict');
END;
--> statement-breakpoint
-- A change that was under way may still arrive under a retired data key: then the waiting for its last snapshot begins anew.
CREATE TRIGGER `credentials_reopen_insert` AFTER INSERT ON `credentials`
WHEN EXISTS (SELECT 1 FROM `data_keys` WHERE `workspace_id` = NEW.`workspace_id` AND `id` IN (NEW.`data_key_id`, NEW.`previous_data_key_id`) AND `state` = 'retired') BEGIN
	UPDATE `data_key_rotations` SET `state` = 're_encrypting', `waiting_until` = NULL, `clean_version` = NULL WHERE `workspace_id` = NEW.`workspace_id` AND `state` = 'waiting';
END;
--> statement-breakpoint
CREATE TRIGGER `credentials_reopen_update` AFTER UPDATE OF `data_key_id`, `previous_data_key_id` ON `credentials`
WHEN EXISTS (SELECT 1 FROM `data_keys` WHERE `workspace_id` = NEW.`workspace_id` AND `id` IN (NEW.`data_key_id`, NEW.`previous_data_key_id`) AND `state` = 'retired') BEGIN
	UPDATE `data_key_rotations` SET `state` = 're_encrypting', `waiting_until` = NULL, `clean_version` = NULL WHERE `workspace_id` = NEW.`workspace_id` AND `state` = 'waiting';
END;

-- An answer's length is part of what a call holds, and a workspace's limits stand in its settings: the version has to move with them, and with no other setting.
DROP TRIGGER `models_publish_update`;
--> statement-breakpoint
CREATE TRIGGER `models_publish_update` AFTER UPDATE OF `provider_name`, `model`, `type`, `enabled`, `credential_ids`, `price`, `max_output` ON `models`
WHEN NEW.`enabled` IS NOT OLD.`enabled` OR NEW.`credential_ids` IS NOT OLD.`credential_ids` OR NEW.`price` IS NOT OLD.`price`
	OR NEW.`max_output` IS NOT OLD.`max_output` OR NEW.`type` IS NOT OLD.`type`
	OR NEW.`provider_name` IS NOT OLD.`provider_name` OR NEW.`model` IS NOT OLD.`model` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`workspace_id`;
END;
--> statement-breakpoint
DROP TRIGGER `workspaces_publish_update`;
--> statement-breakpoint
CREATE TRIGGER `workspaces_publish_update` AFTER UPDATE OF `owner_member_id`, `deleted_at`, `settings` ON `workspaces`
WHEN NEW.`owner_member_id` IS NOT OLD.`owner_member_id` OR NEW.`deleted_at` IS NOT OLD.`deleted_at`
	OR json_extract(NEW.`settings`, '$.limits') IS NOT json_extract(OLD.`settings`, '$.limits') BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`id`;
END;

-- Pools that go by cost are built from prices too: the version has to move with them.
DROP TRIGGER `models_publish_update`;
--> statement-breakpoint
CREATE TRIGGER `models_publish_update` AFTER UPDATE OF `provider_name`, `model`, `enabled`, `credential_ids`, `price` ON `models`
WHEN NEW.`enabled` IS NOT OLD.`enabled` OR NEW.`credential_ids` IS NOT OLD.`credential_ids` OR NEW.`price` IS NOT OLD.`price`
	OR NEW.`provider_name` IS NOT OLD.`provider_name` OR NEW.`model` IS NOT OLD.`model` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`workspace_id`;
END;

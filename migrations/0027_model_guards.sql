-- Every column of a model that the configuration is built from; titles, sizes and prices are not of them.
CREATE TRIGGER `models_publish_insert` AFTER INSERT ON `models` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `models_publish_delete` AFTER DELETE ON `models` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = OLD.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `models_publish_update` AFTER UPDATE OF `provider_name`, `model`, `enabled`, `credential_ids` ON `models`
WHEN NEW.`enabled` IS NOT OLD.`enabled` OR NEW.`credential_ids` IS NOT OLD.`credential_ids`
	OR NEW.`provider_name` IS NOT OLD.`provider_name` OR NEW.`model` IS NOT OLD.`model` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `default_models_publish_insert` AFTER INSERT ON `default_models` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `default_models_publish_delete` AFTER DELETE ON `default_models` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = OLD.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `default_models_publish_update` AFTER UPDATE OF `type`, `provider_name`, `model`, `pool_id` ON `default_models` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`workspace_id`;
END;
--> statement-breakpoint
-- A pool that is deleted is nobody's default any more, and the defaults have another ETag. All rows of a workspace share one revision.
CREATE TRIGGER `pools_leave_defaults` BEFORE DELETE ON `pools`
WHEN EXISTS (SELECT 1 FROM `default_models` WHERE `workspace_id` = OLD.`workspace_id` AND `pool_id` = OLD.`id`) BEGIN
	UPDATE `default_models` SET `revision` = `revision` + 1, `pool_id` = nullif(`pool_id`, OLD.`id`) WHERE `workspace_id` = OLD.`workspace_id`;
END;

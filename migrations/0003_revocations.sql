-- A revocation remembers the version that carries it, so a list can say whether it is in force yet. One trigger does both: the order of two is not defined.
DROP TRIGGER `api_keys_publish_update`;
--> statement-breakpoint
CREATE TRIGGER `api_keys_publish_update` AFTER UPDATE OF `digest`, `scopes`, `limits`, `expires_at`, `revoked_at`, `made_by` ON `api_keys` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`workspace_id`;
	UPDATE `api_keys` SET `revoked_version` = (SELECT `config_version` FROM `workspaces` WHERE `id` = NEW.`workspace_id`)
	WHERE `id` = NEW.`id` AND `revoked_at` IS NOT NULL AND `revoked_version` IS NULL;
END;
--> statement-breakpoint
UPDATE `api_keys` SET `revoked_version` = (SELECT `config_version` FROM `workspaces` WHERE `id` = `api_keys`.`workspace_id`)
WHERE `revoked_at` IS NOT NULL AND `revoked_version` IS NULL;

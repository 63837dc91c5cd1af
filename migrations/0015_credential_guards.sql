-- Every column of a credential that the configuration is built from: what tells of a validation is one of them, and so is what tells that it is back in use.
DROP TRIGGER `credentials_publish_update`;
--> statement-breakpoint
CREATE TRIGGER `credentials_publish_update` AFTER UPDATE OF `provider_name`, `base_url`, `origin`, `sealed`, `secret_version`, `data_key_id`, `status`, `is_valid`, `validated_at`, `restored_at` ON `credentials` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`workspace_id`;
END;

-- Options reach the hot path: the version has to move with them.
DROP TRIGGER `credentials_publish_update`;
--> statement-breakpoint
CREATE TRIGGER `credentials_publish_update` AFTER UPDATE OF `provider_type`, `provider_name`, `base_url`, `options`, `origin`, `sealed`, `secret_version`, `data_key_id`, `status`, `is_valid`, `validated_at`, `restored_at` ON `credentials` BEGIN
	UPDATE `workspaces` SET `config_version` = `config_version` + 1 WHERE `id` = NEW.`workspace_id`;
END;

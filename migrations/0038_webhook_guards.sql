-- What a webhook is told is an audit row: whatever statement writes one owes the telling in the same transaction. What may happen in a loop is not told.
CREATE TRIGGER `audit_log_told` AFTER INSERT ON `audit_log`
WHEN NEW.`workspace_id` IS NOT NULL AND NEW.`outcome` <> 'denied'
	AND NEW.`action` NOT IN ('tool.invoked', 'workspace.switched', 'workspace.exported', 'webhook.tested')
	AND substr(NEW.`action`, 1, instr(NEW.`action`, '.')) IN ('member.', 'invite.', 'ownership.', 'api_key.', 'credential.', 'pool.', 'budget.',
		'workspace.', 'model.', 'default_models.', 'tool.', 'tool_provider.', 'vault.', 'webhook.') BEGIN
	INSERT INTO `webhook_deliveries` (`id`, `workspace_id`, `webhook_id`, `audit_seq`, `type`, `state`, `due_at`, `look_at`, `created_at`)
		SELECT 'whd_0' || substr(lower(hex(randomblob(13))), 2), w.`workspace_id`, w.`id`, NEW.`seq`, NEW.`action`, 'queued', NEW.`time`, NEW.`time`, NEW.`time`
		FROM `webhooks` AS w WHERE w.`workspace_id` = NEW.`workspace_id` AND w.`state` = 'active' AND EXISTS (SELECT 1 FROM json_each(w.`events`) AS e
			WHERE e.value IN ('*', NEW.`action`, substr(NEW.`action`, 1, instr(NEW.`action`, '.')) || '*'));
END;
--> statement-breakpoint
-- A change of data key has not ended while a secret that was planned meanwhile comes in under the retired one.
CREATE TRIGGER `webhook_secrets_reopen_insert` AFTER INSERT ON `webhook_secrets`
WHEN EXISTS (SELECT 1 FROM `data_keys` WHERE `workspace_id` = NEW.`workspace_id` AND `id` = NEW.`data_key_id` AND `state` = 'retired') BEGIN
	UPDATE `data_key_rotations` SET `state` = 're_encrypting', `waiting_until` = NULL, `clean_version` = NULL WHERE `workspace_id` = NEW.`workspace_id` AND `state` = 'waiting';
END;
--> statement-breakpoint
CREATE TRIGGER `webhook_secrets_reopen_update` AFTER UPDATE OF `data_key_id` ON `webhook_secrets`
WHEN EXISTS (SELECT 1 FROM `data_keys` WHERE `workspace_id` = NEW.`workspace_id` AND `id` = NEW.`data_key_id` AND `state` = 'retired') BEGIN
	UPDATE `data_key_rotations` SET `state` = 're_encrypting', `waiting_until` = NULL, `clean_version` = NULL WHERE `workspace_id` = NEW.`workspace_id` AND `state` = 'waiting';
END;

-- The region of a workspace's first key: its shard is the first one for good, whatever the settings say later.
UPDATE `workspaces` SET `first_region` = (
	SELECT `region` FROM `api_keys` WHERE `workspace_id` = `workspaces`.`id` ORDER BY `created_at`, `id` LIMIT 1
);
--> statement-breakpoint
CREATE TRIGGER `api_keys_first_shard` AFTER INSERT ON `api_keys` BEGIN
	UPDATE `workspaces` SET `first_region` = NEW.`region` WHERE `id` = NEW.`workspace_id` AND `first_region` IS NULL;
END;
--> statement-breakpoint
CREATE TRIGGER `workspaces_first_shard_stands` BEFORE UPDATE OF `first_region` ON `workspaces`
WHEN OLD.`first_region` IS NOT NULL AND NEW.`first_region` IS NOT OLD.`first_region` BEGIN
	SELECT RAISE(ABORT, 'a workspace''s first shard never changes');
END;

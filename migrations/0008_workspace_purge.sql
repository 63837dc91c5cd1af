-- A purge is never taken back: once it has begun, the workspace can neither be restored nor look untouched again.
CREATE TRIGGER `workspaces_purge_stands` BEFORE UPDATE OF `deleted_at`, `purge_state` ON `workspaces`
WHEN OLD.`purge_state` IS NOT NULL AND (NEW.`purge_state` IS NULL OR NEW.`deleted_at` IS NOT OLD.`deleted_at`) BEGIN
	SELECT RAISE(ABORT, 'guard:gone');
END;

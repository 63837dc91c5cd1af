-- What each row speaks of, and which workspace has rows that no tree holds yet, so that no statement can forget either.
CREATE TRIGGER `audit_log_noted` AFTER INSERT ON `audit_log` WHEN NEW.`workspace_id` IS NOT NULL BEGIN
	INSERT INTO `audit_targets` (`workspace_id`, `target_id`, `seq`)
		SELECT DISTINCT NEW.`workspace_id`, t.value ->> 'id', NEW.`seq` FROM json_each(NEW.`targets`) AS t WHERE t.value ->> 'id' IS NOT NULL;
	INSERT INTO `audit_trees` (`workspace_id`, `newest_seq`) VALUES (NEW.`workspace_id`, NEW.`seq`)
		ON CONFLICT (`workspace_id`) DO UPDATE SET `newest_seq` = max(`newest_seq`, excluded.`newest_seq`);
END;
--> statement-breakpoint
INSERT INTO `audit_targets` (`workspace_id`, `target_id`, `seq`)
	SELECT DISTINCT a.`workspace_id`, t.value ->> 'id', a.`seq` FROM `audit_log` AS a, json_each(a.`targets`) AS t
	WHERE a.`workspace_id` IS NOT NULL AND t.value ->> 'id' IS NOT NULL;
--> statement-breakpoint
INSERT INTO `audit_trees` (`workspace_id`, `newest_seq`)
	SELECT `workspace_id`, max(`seq`) FROM `audit_log` WHERE `workspace_id` IS NOT NULL GROUP BY `workspace_id`;
--> statement-breakpoint
-- A tree only grows, what is gone is never more than what is signed, and what was said to be gone stays said.
CREATE TRIGGER `audit_trees_grow` BEFORE UPDATE ON `audit_trees`
WHEN NEW.`size` < OLD.`size` OR NEW.`sealed_seq` < OLD.`sealed_seq` OR NEW.`signed_size` < OLD.`signed_size` OR NEW.`signed_size` > NEW.`size`
	OR NEW.`pruned_size` < OLD.`pruned_size` OR NEW.`pruned_seq` < OLD.`pruned_seq` OR NEW.`pruned_size` > NEW.`signed_size`
	OR NEW.`pruned_seq` > NEW.`sealed_seq` OR (NEW.`pruned_size` > 0 AND NEW.`pruned_note` IS NULL) BEGIN
	SELECT RAISE(ABORT, 'audit_trees only grow');
END;
--> statement-breakpoint
CREATE TRIGGER `audit_trees_no_delete` BEFORE DELETE ON `audit_trees` BEGIN
	SELECT RAISE(ABORT, 'audit_trees only grow');
END;
--> statement-breakpoint
-- Sealed rows may go once their tree says, signed, that they are gone. All others stay.
DROP TRIGGER `audit_log_no_delete`;
--> statement-breakpoint
CREATE TRIGGER `audit_log_no_delete` BEFORE DELETE ON `audit_log`
WHEN NOT EXISTS (SELECT 1 FROM `audit_trees` WHERE `workspace_id` = OLD.`workspace_id` AND `pruned_seq` >= OLD.`seq`) BEGIN
	SELECT RAISE(ABORT, 'audit_log is append-only');
END;
--> statement-breakpoint
CREATE TRIGGER `audit_log_pruned` AFTER DELETE ON `audit_log` WHEN OLD.`workspace_id` IS NOT NULL BEGIN
	DELETE FROM `audit_targets` WHERE `workspace_id` = OLD.`workspace_id` AND `seq` = OLD.`seq`
		AND `target_id` IN (SELECT t.value ->> 'id' FROM json_each(OLD.`targets`) AS t);
END;

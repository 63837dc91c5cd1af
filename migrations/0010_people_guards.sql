-- What a search looks through: the account's name and address, A–Z lower-cased, beside the membership. Names and addresses move by better-auth too.
CREATE TRIGGER `members_search_insert` AFTER INSERT ON `members` BEGIN
	UPDATE `members` SET (`search_name`, `search_email`) = (SELECT lower(`name`), lower(`email`) FROM `user` WHERE `id` = NEW.`user_id`)
	WHERE `id` = NEW.`id`;
END;
--> statement-breakpoint
CREATE TRIGGER `user_search_update` AFTER UPDATE OF `name`, `email` ON `user` BEGIN
	UPDATE `members` SET `search_name` = lower(NEW.`name`), `search_email` = lower(NEW.`email`) WHERE `user_id` = NEW.`id`;
END;
--> statement-breakpoint
UPDATE `members` SET (`search_name`, `search_email`) = (SELECT lower(`name`), lower(`email`) FROM `user` WHERE `id` = `members`.`user_id`);
--> statement-breakpoint
-- Counted once for each change: counting ten thousand rows for every look at a workspace would cost more the larger it is.
CREATE TRIGGER `members_count_insert` AFTER INSERT ON `members` WHEN NEW.`removed_at` IS NULL BEGIN
	UPDATE `workspaces` SET `living_members` = `living_members` + 1 WHERE `id` = NEW.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `members_count_remove` AFTER UPDATE OF `removed_at` ON `members` WHEN OLD.`removed_at` IS NULL AND NEW.`removed_at` IS NOT NULL BEGIN
	UPDATE `workspaces` SET `living_members` = `living_members` - 1 WHERE `id` = NEW.`workspace_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `members_count_delete` AFTER DELETE ON `members` WHEN OLD.`removed_at` IS NULL BEGIN
	UPDATE `workspaces` SET `living_members` = `living_members` - 1 WHERE `id` = OLD.`workspace_id`;
END;
--> statement-breakpoint
UPDATE `workspaces` SET `living_members` = (SELECT count(*) FROM `members` WHERE `workspace_id` = `workspaces`.`id` AND `removed_at` IS NULL);
--> statement-breakpoint
-- Seats: nobody joins a full workspace, and no limit is set below the people who are there.
CREATE TRIGGER `members_seats` BEFORE INSERT ON `members` WHEN NEW.`removed_at` IS NULL AND EXISTS
	(SELECT 1 FROM `workspaces` WHERE `id` = NEW.`workspace_id` AND `seat_limit` > 0 AND `living_members` >= `seat_limit`) BEGIN
	SELECT RAISE(ABORT, 'guard:seat_limit_reached');
END;
--> statement-breakpoint
CREATE TRIGGER `workspaces_seats` BEFORE UPDATE OF `seat_limit` ON `workspaces`
WHEN NEW.`seat_limit` IS NOT OLD.`seat_limit` AND (NEW.`seat_limit` < 0 OR (NEW.`seat_limit` > 0 AND NEW.`seat_limit` < OLD.`living_members`)) BEGIN
	SELECT RAISE(ABORT, 'guard:seats_taken');
END;
--> statement-breakpoint
-- Who is removed stays removed: joining again makes a new membership, and keys of the old one stay dead.
CREATE TRIGGER `members_stay_removed` BEFORE UPDATE OF `removed_at` ON `members`
WHEN OLD.`removed_at` IS NOT NULL AND NEW.`removed_at` IS NOT OLD.`removed_at` BEGIN
	SELECT RAISE(ABORT, 'a removed member stays removed');
END;
--> statement-breakpoint
-- The owner is a living member, whichever of the two rows moves.
DROP TRIGGER `members_owner_stays`;
--> statement-breakpoint
CREATE TRIGGER `members_owner_stays` BEFORE UPDATE OF `removed_at` ON `members`
WHEN NEW.`removed_at` IS NOT NULL AND EXISTS (SELECT 1 FROM `workspaces` WHERE `id` = NEW.`workspace_id` AND `owner_member_id` = NEW.`id`) BEGIN
	SELECT RAISE(ABORT, 'guard:last_owner');
END;
--> statement-breakpoint
CREATE TRIGGER `workspaces_owner_lives` BEFORE UPDATE OF `owner_member_id` ON `workspaces`
WHEN NOT EXISTS (SELECT 1 FROM `members` WHERE `workspace_id` = NEW.`id` AND `id` = NEW.`owner_member_id` AND `removed_at` IS NULL) BEGIN
	SELECT RAISE(ABORT, 'guard:conflict');
END;
--> statement-breakpoint
-- What was answered, revoked or confirmed once is never open again.
CREATE TRIGGER `invites_stay_closed` BEFORE UPDATE OF `state` ON `invites` WHEN OLD.`state` <> 'pending' AND NEW.`state` IS NOT OLD.`state` BEGIN
	SELECT RAISE(ABORT, 'a closed invite stays closed');
END;
--> statement-breakpoint
CREATE TRIGGER `ownership_transfers_stay_closed` BEFORE UPDATE OF `state` ON `ownership_transfers` WHEN OLD.`state` <> 'pending' AND NEW.`state` IS NOT OLD.`state` BEGIN
	SELECT RAISE(ABORT, 'a closed transfer stays closed');
END;

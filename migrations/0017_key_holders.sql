ALTER TABLE `api_keys` ADD `shown_to` text;--> statement-breakpoint
ALTER TABLE `api_keys` ADD `previous_shown_to` text;
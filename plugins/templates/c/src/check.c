// The page must have a text: a check to begin with.
#include <stdlib.h>

#include "probity.h"

// The text, from the configuration: the host calls configure once, and then run.
static Text wanted;

void exports_probity_check_manifest_describe(check_list_tuple2_string_string_t *entries) {
  *entries = (check_list_tuple2_string_string_t){0};
  manifest_entry(entries, "name", "my-check");
  manifest_entry(entries, "version", "0.1.0");
  manifest_entry(entries, "summary", "The page must have a text");
  manifest_entry(entries, "needs-body", "true");
  // What stands under `config` in a pipeline file.
  manifest_entry(entries, "config-schema",
                 "{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\","
                 " \"title\": \"my-check\", \"type\": \"object\", \"additionalProperties\": false,"
                 " \"required\": [\"text\"], \"properties\": {\"text\": {\"type\": \"string\", \"minLength\": 1,"
                 " \"description\": \"The text that the page must have.\"}}}");
}

// Hands a message to the host: the answer of a function that failed.
static bool failed(Message *message, check_string_t *error) {
  *error = message_out(message);
  return false;
}

// The error is shown to the person who wrote the configuration.
bool exports_probity_check_checker_configure(check_string_t *config, check_string_t *error) {
  Message message = {0};
  Json root, value;
  Text name;
  if (!json_read(text_in(*config), &root) || !json_is_object(root)) {
    message_add(&message, "the configuration is not a table");
    return failed(&message, error);
  }
  for (JsonStep step = {0}; json_next(root, &step, &name, &value);) {
    if (text_equals(name, text_of("text"))) continue;
    message_add(&message, "unknown key ");
    message_quote(&message, name, 60);
    message_add(&message, ", expected \"text\"");
    return failed(&message, error);
  }
  if (!json_member(root, "text", &value)) {
    message_add(&message, "missing key \"text\"");
  } else if (!json_string(value, &wanted)) {
    message_add(&message, "text: not a string");
  } else if (wanted.length == 0) {
    message_add(&message, "text: an empty text is in every page");
  }
  return message.length == 0 || failed(&message, error);
}

// An error means: could not judge.
bool exports_probity_check_checker_run(exports_probity_check_checker_borrow_observation_t seen,
                                       exports_probity_check_checker_verdict_t *verdict, check_string_t *error) {
  Message message = {0};
  check_string_t body;
  probity_check_observation_method_observation_body_text(seen, &body);
  Text page = text_in(body);
  uint64_t length = probity_check_observation_method_observation_body_len(seen);
  int occurrences = 0;
  for (size_t at = 0; (at = text_find(page, wanted, at)) < page.length; at += wanted.length) occurrences++;

  message_quote(&message, wanted, 1000);
  if (occurrences == 0 && probity_check_observation_method_observation_body_truncated(seen)) {
    message_add(&message, " is not in the first ");
    message_integer(&message, (int64_t)length);
    message_add(&message, " bytes, where the page was cut: raise body_limit");
    check_string_free(&body);
    return failed(&message, error);
  }
  report_metric("occurrences", occurrences);
  if (occurrences == 0) {
    message_add(&message, " is not in the ");
    message_integer(&message, (int64_t)length);
    message_add(&message, " bytes of the page, which begins ");
    message_quote(&message, page, 60);
    verdict->status = EXPORTS_PROBITY_CHECK_CHECKER_STATUS_FAIL;
  } else {
    message_add(&message, " is there");
    verdict->status = EXPORTS_PROBITY_CHECK_CHECKER_STATUS_PASS;
  }
  verdict->message = message_out(&message);
  check_string_free(&body);
  return true;
}

// A shop's cart must add up, in the right currency.
//
// The page carries its cart as JSON: <script type="application/json" id="cart">.
#include <math.h>
#include <stdlib.h>

#include "probity.h"

static const char SCHEMA[] =
    "{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\", \"title\": \"cart\","
    " \"description\": \"What the cart must be like.\", \"type\": \"object\", \"additionalProperties\": false,"
    " \"required\": [\"currency\"], \"properties\": {"
    "\"currency\": {\"description\": \"The currency of the cart, a code of three capital letters.\","
    " \"type\": \"string\", \"pattern\": \"^[A-Z]{3}$\"},"
    "\"allow_empty\": {\"description\": \"Whether a cart without items is as it should be; else it is a warning.\","
    " \"type\": \"boolean\", \"default\": false}}}";

// What stands under `config` in a pipeline file.
static struct {
  Text currency;
  bool allow_empty;
} config;

void exports_probity_check_manifest_describe(check_list_tuple2_string_string_t *entries) {
  *entries = (check_list_tuple2_string_string_t){0};
  manifest_entry(entries, "name", "cart");
  manifest_entry(entries, "version", "0.1.0");
  manifest_entry(entries, "summary", "A shop's cart must add up, in the right currency");
  manifest_entry(entries, "needs-body", "true");
  manifest_entry(entries, "config-schema", SCHEMA);
}

static bool is_currency(Text text) {
  for (size_t at = 0; at < text.length; at++)
    if (text.at[at] < 'A' || text.at[at] > 'Z') return false;
  return text.length == 3;
}

// Reads the configuration; what is wrong with it goes into the message.
static void read_config(Text text, Message *wrong) {
  Json root, value;
  Text name;
  if (!json_read(text, &root) || !json_is_object(root)) {
    message_add(wrong, "the configuration is not a table");
    return;
  }
  for (JsonStep step = {0}; json_next(root, &step, &name, &value);) {
    if (text_equals(name, text_of("currency")) || text_equals(name, text_of("allow_empty"))) continue;
    message_add(wrong, "unknown key ");
    message_quote(wrong, name, 60);
    message_add(wrong, ", expected \"currency\" or \"allow_empty\"");
    return;
  }
  if (!json_member(root, "currency", &value)) {
    message_add(wrong, "missing key \"currency\"");
  } else if (!json_string(value, &config.currency)) {
    message_add(wrong, "currency: not a text");
  } else if (!is_currency(config.currency)) {
    message_add(wrong, "currency: ");
    message_quote(wrong, config.currency, 60);
    message_add(wrong, " is not a code of three capital letters, like \"GBP\"");
  } else if (json_member(root, "allow_empty", &value) && !json_bool(value, &config.allow_empty)) {
    message_add(wrong, "allow_empty: neither true nor false");
  }
}

// Called once for a configuration. The error is shown to the person who wrote it.
bool exports_probity_check_checker_configure(check_string_t *text, check_string_t *error) {
  Message wrong = {0};
  config.allow_empty = false;
  read_config(text_in(*text), &wrong);
  if (wrong.length == 0) return true;
  *error = message_out(&wrong);
  return false;
}

// What stands in <script id="cart">; false where there is no such tag, or no end of it.
static bool cart_text(Text page, Text *cart) {
  for (size_t at = 0;;) {
    size_t tag = text_find(page, text_of("<script"), at), inside = text_find(page, text_of(">"), tag);
    size_t end = text_find(page, text_of("</script>"), inside);
    if (end == page.length) return false;
    Text attributes = text_slice(page, tag, inside);
    if (text_find(attributes, text_of("id=\"cart\""), 0) < attributes.length) {
      *cart = text_slice(page, inside + 1, end);
      return true;
    }
    at = end;
  }
}

static Text trimmed(Text text) {
  while (text.length && (unsigned char)text.at[0] <= ' ') text = text_slice(text, 1, text.length);
  while (text.length && (unsigned char)text.at[text.length - 1] <= ' ') text.length--;
  return text;
}

// A number that is a member of an object.
static bool member_number(Json object, const char *name, double *number) {
  Json value;
  return json_member(object, name, &value) && json_number(value, number);
}

// An amount in hundredths: a sum of floats would be off by a little.
static bool pence(Json object, const char *name, int64_t *amount) {
  double number;
  if (!member_number(object, name, &number) || fabs(number) >= 1e12) return false;
  *amount = llround(number * 100);
  return true;
}

static bool whole(Json object, const char *name, int64_t *count) {
  double number;
  if (!member_number(object, name, &number) || fabs(number) >= 1e6 || number != floor(number)) return false;
  *count = (int64_t)number;
  return true;
}

static void add_money(Message *message, int64_t amount, Text currency) {
  message_hundredths(message, amount);
  message_add(message, " ");
  message_text(message, currency);
}

static void add_count(Message *message, int64_t items) {
  message_integer(message, items);
  message_add(message, items == 1 ? " item" : " items");
}

static void add_malformed(Message *message, int64_t at, const char *what) {
  message_add(message, "items[");
  message_integer(message, at);
  message_add(message, "].");
  message_add(message, what);
}

// Adds up the items; false where one is not what it should be, which goes into the message.
static bool add_up(Json list, int64_t *items, int64_t *sum, Message *message) {
  Json item;
  Text none;
  int64_t at = 0, price, quantity;
  for (JsonStep step = {0}; json_next(list, &step, &none, &item); at++) {
    if (!pence(item, "price", &price)) {
      add_malformed(message, at, "price is not a number");
      return false;
    }
    if (!whole(item, "quantity", &quantity)) {
      add_malformed(message, at, "quantity is not a whole number");
      return false;
    }
    *items += quantity;
    *sum += price * quantity;
  }
  return true;
}

// `total_gbp` for GBP.
static void report_total(Text currency, int64_t total) {
  Message name = {0};
  message_add(&name, "total_");
  for (size_t at = 0; at < currency.length; at++) {
    char letter = currency.at[at];
    if (letter >= 'A' && letter <= 'Z') letter += 'a' - 'A';
    message_text(&name, (Text){&letter, 1});
  }
  message_text(&name, (Text){"", 1});
  report_metric(name.at, (double)total / 100);
  free(name.at);
}

// The verdict on a cart; its reason goes into the message.
static exports_probity_check_checker_status_t judge(Json cart, Message *message) {
  Json value, list;
  Text currency;
  int64_t total, items = 0, sum = 0;
  if (!json_member(cart, "currency", &value) || !json_string(value, &currency)) {
    message_add(message, "currency is not a text");
    return EXPORTS_PROBITY_CHECK_CHECKER_STATUS_FAIL;
  }
  if (!pence(cart, "total", &total)) {
    message_add(message, "total is not a number");
    return EXPORTS_PROBITY_CHECK_CHECKER_STATUS_FAIL;
  }
  if (!json_member(cart, "items", &list) || !json_is_array(list)) {
    message_add(message, "items is not a list");
    return EXPORTS_PROBITY_CHECK_CHECKER_STATUS_FAIL;
  }
  if (!add_up(list, &items, &sum, message)) return EXPORTS_PROBITY_CHECK_CHECKER_STATUS_FAIL;
  report_metric("items", (double)items);
  report_total(currency, total);
  report_annotation("currency", currency);

  if (!text_equals(currency, config.currency)) {
    message_add(message, "the currency is ");
    message_text(message, currency);
    message_add(message, ", not ");
    message_text(message, config.currency);
  }
  if (sum != total) {
    message_add(message, message->length ? "; the total is " : "the total is ");
    add_money(message, total, currency);
    message_add(message, ", but ");
    add_count(message, items);
    message_add(message, items == 1 ? " costs " : " cost ");
    add_money(message, sum, currency);
  }
  if (message->length) return EXPORTS_PROBITY_CHECK_CHECKER_STATUS_FAIL;
  if (items == 0 && !config.allow_empty) {
    message_add(message, "the cart is empty");
    return EXPORTS_PROBITY_CHECK_CHECKER_STATUS_WARN;
  }
  add_count(message, items);
  message_add(message, ", ");
  add_money(message, total, currency);
  return EXPORTS_PROBITY_CHECK_CHECKER_STATUS_PASS;
}

// Called for every response. An error means: could not judge.
bool exports_probity_check_checker_run(exports_probity_check_checker_borrow_observation_t seen,
                                       exports_probity_check_checker_verdict_t *verdict, check_string_t *error) {
  Message message = {0};
  check_string_t body;
  probity_check_observation_method_observation_body_text(seen, &body);
  int64_t length = (int64_t)probity_check_observation_method_observation_body_len(seen);
  Text text;
  Json cart;
  bool judged = true;
  verdict->status = EXPORTS_PROBITY_CHECK_CHECKER_STATUS_FAIL;
  if (!cart_text(text_in(body), &text)) {
    judged = !probity_check_observation_method_observation_body_truncated(seen);
    message_add(&message, judged ? "no <script id=\"cart\"> in a page of " : "the page was cut at ");
    message_integer(&message, length);
    message_add(&message, judged ? " bytes" : " bytes, before its cart: raise body_limit");
  } else if (!json_read(text, &cart)) {
    message_add(&message, "the cart is not JSON: ");
    message_quote(&message, trimmed(text), 60);
  } else {
    verdict->status = judge(cart, &message);
  }
  check_string_free(&body);
  *(judged ? &verdict->message : error) = message_out(&message);
  return judged;
}

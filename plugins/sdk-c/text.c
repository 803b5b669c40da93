// Texts and messages of the kit, and what is reported to the host.
#include <stdlib.h>
#include <string.h>

#include "probity.h"

Text text_of(const char *terminated) { return (Text){terminated, strlen(terminated)}; }

Text text_in(check_string_t text) { return (Text){(const char *)text.ptr, text.len}; }

bool text_equals(Text one, Text other) {
  return one.length == other.length && memcmp(one.at, other.at, one.length) == 0;
}

size_t text_find(Text whole, Text part, size_t from) {
  if (part.length == 0) return from < whole.length ? from : whole.length;
  while (from + part.length <= whole.length) {
    // The first byte is looked for by the C library, which is faster than comparing at every place.
    const char *at = memchr(whole.at + from, part.at[0], whole.length - from - part.length + 1);
    if (!at) return whole.length;
    if (memcmp(at, part.at, part.length) == 0) return (size_t)(at - whole.at);
    from = (size_t)(at - whole.at) + 1;
  }
  return whole.length;
}

Text text_slice(Text whole, size_t begin, size_t end) { return (Text){whole.at + begin, end - begin}; }

// Memory that is not there is a trap: the runner makes a verdict `error` of it.
static void *allocated(void *memory) {
  if (!memory) __builtin_trap();
  return memory;
}

check_string_t text_out(Text text) {
  check_string_t out = {allocated(malloc(text.length ? text.length : 1)), text.length};
  memcpy(out.ptr, text.at, text.length);
  return out;
}

void message_text(Message *message, Text text) {
  if (message->length + text.length > message->room) {
    message->room = 2 * (message->length + text.length);
    message->at = allocated(realloc(message->at, message->room));
  }
  memcpy(message->at + message->length, text.at, text.length);
  message->length += text.length;
}

void message_add(Message *message, const char *terminated) { message_text(message, text_of(terminated)); }

void message_integer(Message *message, int64_t number) {
  char digits[20];
  size_t at = sizeof digits;
  uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
  do digits[--at] = (char)('0' + rest % 10);
  while (rest /= 10);
  if (number < 0) message_add(message, "-");
  message_text(message, (Text){digits + at, sizeof digits - at});
}

void message_hundredths(Message *message, int64_t hundredths) {
  uint64_t rest = hundredths < 0 ? 0 - (uint64_t)hundredths : (uint64_t)hundredths;
  char digits[3] = {'.', (char)('0' + rest / 10 % 10), (char)('0' + rest % 10)};
  if (hundredths < 0) message_add(message, "-");
  message_integer(message, (int64_t)(rest / 100));
  message_text(message, (Text){digits, sizeof digits});
}

void message_quote(Message *message, Text text, size_t most) {
  message_add(message, "\"");
  for (size_t at = 0; at < text.length; at++) {
    unsigned char byte = (unsigned char)text.at[at];
    bool begins_character = (byte & 0xc0) != 0x80;
    if (begins_character && most-- == 0) {
      message_add(message, "…");
      break;
    }
    message_text(message, byte < ' ' || byte == 0x7f ? text_of(" ") : text_slice(text, at, at + 1));
  }
  message_add(message, "\"");
}

Text message_view(const Message *message) { return (Text){message->at, message->length}; }

check_string_t message_out(Message *message) {
  check_string_t out = text_out(message_view(message));
  free(message->at);
  *message = (Message){0};
  return out;
}

void manifest_entry(check_list_tuple2_string_string_t *entries, const char *key, const char *value) {
  entries->ptr = allocated(realloc(entries->ptr, (entries->len + 1) * sizeof *entries->ptr));
  entries->ptr[entries->len++] = (check_tuple2_string_string_t){text_out(text_of(key)), text_out(text_of(value))};
}

// What the host is lent for one call; it does not write into it.
static check_string_t lent(Text text) { return (check_string_t){(uint8_t *)text.at, text.length}; }

void report_metric(const char *name, double value) {
  check_string_t host_name = lent(text_of(name));
  probity_check_report_metric(&host_name, value);
}

void report_annotation(const char *name, Text value) {
  check_string_t host_name = lent(text_of(name)), host_value = lent(value);
  probity_check_report_annotate(&host_name, &host_value);
}

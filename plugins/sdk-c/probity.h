// The kit to write a check for Probity in C, on top of the generated bindings in check.h.
//
// A check gives four functions (the prototypes are in check.h): describe, configure, run. The bindings free what is
// handed to them with free(), so whatever goes out is allocated: `text_out` copies.
//
// Texts are views (`Text`): a pointer and a length, not terminated, not owned. JSON is read in place: a `Json` is a
// view of one value in a text that `json_read` has found to be whole JSON.
#ifndef PROBITY_H
#define PROBITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"

// A view of bytes, mostly UTF-8.
typedef struct {
  const char *at;
  size_t length;
} Text;

// A view of a string literal or of any terminated string.
Text text_of(const char *terminated);
// A view of what the host handed over.
Text text_in(check_string_t text);
bool text_equals(Text one, Text other);
// Where `part` begins in `whole`, at or after `from`; whole.length where it is not there.
size_t text_find(Text whole, Text part, size_t from);
// The part from `begin` to `end`.
Text text_slice(Text whole, size_t begin, size_t end);

// A copy for the host, which frees it.
check_string_t text_out(Text text);

// A message that grows as it is written. Begins as {0}.
typedef struct {
  char *at;
  size_t length;
  size_t room;
} Message;

void message_text(Message *message, Text text);
// The text of a literal.
void message_add(Message *message, const char *terminated);
void message_integer(Message *message, int64_t number);
// A number of hundredths, with its two digits: 1450 is 14.50.
void message_hundredths(Message *message, int64_t hundredths);
// A text in double quotes: at most `most` characters of it, control characters as spaces.
void message_quote(Message *message, Text text, size_t most);
// What was written, as a view.
Text message_view(const Message *message);
// What was written, for the host, which frees it; the message is empty again.
check_string_t message_out(Message *message);

// One key of `describe`.
void manifest_entry(check_list_tuple2_string_string_t *entries, const char *key, const char *value);

void report_metric(const char *name, double value);
void report_annotation(const char *name, Text value);

// One JSON value, in a text that is whole JSON.
typedef struct {
  const char *at;
  const char *end;
} Json;

// Reads a text as JSON; false where it is not (RFC 8259, at most 64 levels deep).
bool json_read(Text text, Json *value);
bool json_is_object(Json value);
bool json_is_array(Json value);
// The member of an object; where a name comes twice, the last one. False where there is none.
bool json_member(Json object, const char *name, Json *member);
// Steps through an array or an object: `*step` begins as {0}, the name is empty in an array. False at the end.
typedef struct {
  const char *next;
} JsonStep;
bool json_next(Json container, JsonStep *step, Text *name, Json *value);
// A finite number; false for anything else.
bool json_number(Json value, double *number);
// true or false; false for anything else.
bool json_bool(Json value, bool *boolean);
// A string without its escapes, allocated (the caller frees `text->at`); false for anything else.
bool json_string(Json value, Text *text);

#endif

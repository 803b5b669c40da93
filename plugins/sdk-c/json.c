// JSON, read in place: `json_read` looks at every byte once, and what follows may trust it.
#include <stdlib.h>
#include <string.h>

#include "probity.h"

enum { LEVELS_MAX = 64 };

static const char *skip_blanks(const char *at, const char *end) {
  while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
  return at;
}

static bool is_digit(char byte) { return byte >= '0' && byte <= '9'; }

static bool is_hex(char byte) {
  return is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

// Each `after_…` gives the place after what begins at `at`; a null pointer where that is not JSON.

static const char *after_string(const char *at, const char *end) {
  for (at++; at < end; at++) {
    if (*at == '"') return at + 1;
    if ((unsigned char)*at < ' ') return NULL;
    if (*at != '\\') continue;
    if (++at == end) return NULL;
    if (*at == 'u') {
      for (int digits = 0; digits < 4; digits++)
        if (++at >= end || !is_hex(*at)) return NULL;
    } else if (!memchr("\"\\/bfnrt", *at, 8)) {
      return NULL;
    }
  }
  return NULL;
}

static const char *after_digits(const char *at, const char *end) {
  if (at == end || !is_digit(*at)) return NULL;
  while (at < end && is_digit(*at)) at++;
  return at;
}

static const char *after_number(const char *at, const char *end) {
  if (*at == '-') at++;
  bool zero = at < end && *at == '0';
  const char *whole = after_digits(at, end);
  if (!whole || (zero && whole > at + 1)) return NULL;
  at = whole;
  if (at < end && *at == '.' && !(at = after_digits(at + 1, end))) return NULL;
  if (at < end && (*at == 'e' || *at == 'E')) {
    at++;
    if (at < end && (*at == '+' || *at == '-')) at++;
    at = after_digits(at, end);
  }
  return at;
}

static const char *after_word(const char *at, const char *end, const char *word) {
  size_t length = strlen(word);
  return (size_t)(end - at) >= length && memcmp(at, word, length) == 0 ? at + length : NULL;
}

static const char *after_value(const char *at, const char *end, int levels);

static const char *after_container(const char *at, const char *end, int levels) {
  bool object = *at == '{';
  char close = object ? '}' : ']';
  if (levels == 0) return NULL;
  at = skip_blanks(at + 1, end);
  if (at < end && *at == close) return at + 1;
  for (;;) {
    if (object) {
      if (at == end || *at != '"' || !(at = after_string(at, end))) return NULL;
      at = skip_blanks(at, end);
      if (at == end || *at++ != ':') return NULL;
      at = skip_blanks(at, end);
    }
    if (!(at = after_value(at, end, levels - 1))) return NULL;
    at = skip_blanks(at, end);
    if (at == end) return NULL;
    if (*at == close) return at + 1;
    if (*at++ != ',') return NULL;
    at = skip_blanks(at, end);
  }
}

static const char *after_value(const char *at, const char *end, int levels) {
  if (at == end) return NULL;
  switch (*at) {
    case '{':
    case '[': return after_container(at, end, levels);
    case '"': return after_string(at, end);
    case 't': return after_word(at, end, "true");
    case 'f': return after_word(at, end, "false");
    case 'n': return after_word(at, end, "null");
    default: return *at == '-' || is_digit(*at) ? after_number(at, end) : NULL;
  }
}

bool json_read(Text text, Json *value) {
  const char *end = text.at + text.length, *at = skip_blanks(text.at, end);
  const char *after = after_value(at, end, LEVELS_MAX);
  if (!after || skip_blanks(after, end) != end) return false;
  *value = (Json){at, after};
  return true;
}

bool json_is_object(Json value) { return *value.at == '{'; }

bool json_is_array(Json value) { return *value.at == '['; }

bool json_next(Json container, JsonStep *step, Text *name, Json *value) {
  const char *end = container.end - 1, *at = skip_blanks(step->next ? step->next : container.at + 1, end);
  if (at < end && *at == ',') at = skip_blanks(at + 1, end);
  if (at == end) return false;
  *name = (Text){at, 0};
  if (json_is_object(container)) {
    const char *after = after_string(at, end);
    *name = (Text){at + 1, (size_t)(after - at) - 2};
    at = skip_blanks(skip_blanks(after, end) + 1, end);
  }
  step->next = after_value(at, end, LEVELS_MAX);
  *value = (Json){at, step->next};
  return true;
}

bool json_member(Json object, const char *name, Json *member) {
  JsonStep step = {0};
  Text found;
  Json value;
  bool any = false;
  if (!json_is_object(object)) return false;
  while (json_next(object, &step, &found, &value)) {
    if (!text_equals(found, text_of(name))) continue;
    *member = value;
    any = true;
  }
  return any;
}

bool json_number(Json value, double *number) {
  char digits[64];
  size_t length = (size_t)(value.end - value.at);
  // A number of more digits than this is none that anybody means.
  if ((*value.at != '-' && !is_digit(*value.at)) || length >= sizeof digits) return false;
  memcpy(digits, value.at, length);
  digits[length] = 0;
  *number = strtod(digits, NULL);
  return __builtin_isfinite(*number);
}

bool json_bool(Json value, bool *boolean) {
  *boolean = *value.at == 't';
  return *value.at == 't' || *value.at == 'f';
}

static unsigned hex(const char *at) {
  unsigned code = 0;
  for (int digit = 0; digit < 4; digit++) {
    char byte = at[digit];
    code = code * 16 + (unsigned)(is_digit(byte) ? byte - '0' : (byte | 0x20) - 'a' + 10);
  }
  return code;
}

static char *put_character(char *to, unsigned code) {
  if (code < 0x80) {
    *to++ = (char)code;
  } else if (code < 0x800) {
    *to++ = (char)(0xc0 | code >> 6);
    *to++ = (char)(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    *to++ = (char)(0xe0 | code >> 12);
    *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    *to++ = (char)(0x80 | (code & 0x3f));
  } else {
    *to++ = (char)(0xf0 | code >> 18);
    *to++ = (char)(0x80 | (code >> 12 & 0x3f));
    *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    *to++ = (char)(0x80 | (code & 0x3f));
  }
  return to;
}

// The character of the `\u` at `*at`, which is moved behind it. Half of a pair alone becomes U+FFFD.
static unsigned escaped_character(const char **at, const char *end) {
  unsigned code = hex(*at + 2);
  *at += 6;
  if (code < 0xd800 || code > 0xdfff) return code;
  if (code < 0xdc00 && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u') {
    unsigned low = hex(*at + 2);
    if (low >= 0xdc00 && low <= 0xdfff) {
      *at += 6;
      return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
  }
  return 0xfffd;
}

bool json_string(Json value, Text *text) {
  if (*value.at != '"') return false;
  const char *at = value.at + 1, *end = value.end - 1;
  // No escape is shorter than what it stands for.
  char *begin = malloc((size_t)(end - at) + 1), *to = begin;
  if (!begin) __builtin_trap();
  while (at < end) {
    if (*at != '\\') {
      *to++ = *at++;
    } else if (at[1] == 'u') {
      to = put_character(to, escaped_character(&at, end));
    } else {
      static const char names[] = "bfnrt", bytes[] = "\b\f\n\r\t";
      const char *name = memchr(names, at[1], 5);
      *to++ = name ? bytes[name - names] : at[1];
      at += 2;
    }
  }
  *text = (Text){begin, (size_t)(to - begin)};
  return true;
}

/*
 * One load generator for every server that is measured: asfaleia's lines (over TCP and over WebSocket), RESP, MQTT 3.1.1
 * and NATS. It keeps a window of requests under way on each connection and does as little per message as it
 * can, so that the server is what is measured. It prints `ready` when every connection is up, begins when a
 * line comes on standard input, and prints one line of JSON at the end. The loop has no other clock than the
 * monotonic one.
 *
 * Usage: load PROTOCOL MODE PORT [key=value …]
 *   PROTOCOL  asf, ws, redis, mqtt, nats
 *   MODE      prepare  queues, topics and streams that a broker needs before messages can wait
 *             store    `messages` are sent by `connections`, `window` unanswered on each
 *             drain    `messages` are read and acknowledged; by GET and ACK, or subscribed with by=subscribe
 *             push     from a sender to a reader online, `window` under way between each pair
 *             rate     as push, `rate` messages a second whatever comes back, for `seconds`; their latencies
 *             idle     connections that proved themselves and say nothing, until standard input ends
 *             flood    AUTH after AUTH on new connections, until standard input ends (asf)
 * asf and ws read `mailboxes` lines of `token TAB receiver` from standard input first.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ = 1 << 18, REST = 1 << 20, IDS = 128, EVENTS = 256, PULL = 64 };

enum protocol { ASF, WS, REDIS, MQTT, NATS };
enum mode { PREPARE, STORE, DRAIN, PUSH, RATE, IDLE, FLOOD };

struct text {
  char *at;
  size_t length, capacity;
};

struct connection {
  int fd, reader, writing;
  unsigned mailbox;
  struct connection *pair;
  /* The request, repeated `copies` times, so that a window leaves in one write. */
  char *ring;
  size_t packet, copies;
  uint64_t allowed, sent_bytes;
  uint64_t answered, received, acknowledged, target;
  struct text out, rest;
  /* What the reader of an answer knows between two lines. */
  uint64_t batch, asked;
  size_t skip;
  int lines, values;
  char ids[IDS][17];
  unsigned id_count;
  uint64_t drawn;
  /* When a message was due, by its number modulo TIMES. */
  uint64_t *times;
};

enum { TIMES = 1 << 14 };

static enum protocol protocol;
static enum mode mode;
static int port, subscribe_to_drain, spin = 1;
static unsigned connection_count = 16, mailbox_count, window = 64, keep;
static uint64_t messages = 100000, size = 1368, rate = 5000;
static double seconds = 4;
static char **tokens, **receivers;
static char *payload;
static char buffer[REST + READ];
static struct connection *connections;
static int epoll;
static uint64_t all_answered, all_received, all_acknowledged;
static uint32_t *latencies;
static uint64_t latency_count, latency_capacity;

static void fail(const char *what) {
  fprintf(stderr, "load: %s\n", what);
  exit(1);
}

static void *must(void *pointer) {
  if (pointer == NULL) fail("out of memory");
  return pointer;
}

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static char *room(struct text *text, size_t bytes) {
  if (text->length + bytes > text->capacity) {
    text->capacity = (text->length + bytes) * 2;
    text->at = must(realloc(text->at, text->capacity));
  }
  return text->at + text->length;
}

static void add(struct text *text, const void *bytes, size_t length) {
  memcpy(room(text, length), bytes, length);
  text->length += length;
}

static void say(struct text *text, const char *string) { add(text, string, strlen(string)); }

/* Of at most 512 bytes. */
#define SAYF(text, ...) ((text)->length += (size_t)sprintf(room(text, 512), __VA_ARGS__))

/* A WebSocket frame of a client (RFC 6455, section 5.2): binary, and masked, always alike. */
static void frame(struct text *text, const void *bytes, size_t length) {
  static const unsigned char mask[4] = { 0x37, 0xfa, 0x21, 0x3d };
  unsigned char head[14] = { 0x82 };
  size_t n = 2;
  if (length < 126) {
    head[1] = (unsigned char)(0x80 | length);
  } else if (length < 65536) {
    head[1] = 0x80 | 126;
    head[2] = (unsigned char)(length >> 8);
    head[3] = (unsigned char)length;
    n = 4;
  } else {
    head[1] = 0x80 | 127;
    for (int i = 0; i < 8; i++) head[2 + i] = (unsigned char)((uint64_t)length >> (56 - 8 * i));
    n = 10;
  }
  memcpy(head + n, mask, 4);
  add(text, head, n + 4);
  add(text, bytes, length);
  char *masked = text->at + text->length - length;
  for (size_t i = 0; i < length; i++) masked[i] ^= (char)mask[i & 3];
}

/* One of our packets, without its LF, as the door carries it. */
static void put_packet(struct text *text, const char *bytes, size_t length) {
  if (protocol == WS) {
    frame(text, bytes, length);
  } else {
    add(text, bytes, length);
    add(text, "\n", 1);
  }
}

static void mqtt_length(struct text *text, size_t length) {
  do {
    unsigned char byte = length & 127;
    length >>= 7;
    if (length > 0) byte |= 128;
    add(text, &byte, 1);
  } while (length > 0);
}

static void mqtt_string(struct text *text, const char *string) {
  size_t length = strlen(string);
  unsigned char head[2] = { (unsigned char)(length >> 8), (unsigned char)length };
  add(text, head, 2);
  add(text, string, length);
}

/* Blocking, for what comes before the measuring. */

static void write_all(int fd, const struct text *text) {
  for (size_t at = 0; at < text->length;) {
    ssize_t n = write(fd, text->at + at, text->length - at);
    if (n <= 0) fail("the server ended a connection");
    at += (size_t)n;
  }
}

static size_t read_some(int fd, char *to, size_t length) {
  ssize_t n = read(fd, to, length);
  if (n <= 0) fail("the server ended a connection");
  return (size_t)n;
}

/* Reads until LF, and gives the line without it. */
static const char *read_line(int fd) {
  static char line[65536];
  size_t length = 0;
  while (length < sizeof line - 1) {
    read_some(fd, line + length, 1);
    if (line[length] == '\n') break;
    length++;
  }
  line[length] = 0;
  return line;
}

static void read_exactly(int fd, char *to, size_t length) {
  for (size_t at = 0; at < length;) at += read_some(fd, to + at, length - at);
}

/* Sends and gives the text of our packet that answers. */
static const char *ask(int fd, const char *packet) {
  static char answer[65536];
  struct text text = { 0 };
  put_packet(&text, packet, strlen(packet));
  write_all(fd, &text);
  free(text.at);
  if (protocol == ASF) return read_line(fd);
  unsigned char head[10];
  read_exactly(fd, (char *)head, 2);
  size_t length = head[1];
  if (length == 126) {
    read_exactly(fd, (char *)head, 2);
    length = (size_t)head[0] << 8 | head[1];
  }
  read_exactly(fd, answer, length);
  answer[length] = 0;
  return answer;
}

static int dial(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int one = 1;
  if (fd < 0) fail("no more sockets");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("cannot connect");
  return fd;
}

static void mqtt_connect(int fd, const char *name, int clean) {
  struct text body = { 0 }, text = { 0 };
  mqtt_string(&body, "MQTT");
  unsigned char rest[4] = { 4, (unsigned char)(clean ? 2 : 0), 0, 0 };
  add(&body, rest, 4);
  mqtt_string(&body, name);
  add(&text, "\x10", 1);
  mqtt_length(&text, body.length);
  add(&text, body.at, body.length);
  write_all(fd, &text);
  char answer[4];
  read_exactly(fd, answer, 4);
  if (answer[0] != 0x20 || answer[3] != 0) fail("CONNECT was refused");
  free(body.at);
  free(text.at);
}

static void mqtt_subscribe(int fd, unsigned mailbox) {
  char topic[32];
  struct text body = { 0 }, text = { 0 };
  sprintf(topic, "%c/%u", mode == PREPARE ? 't' : 'p', mailbox);
  add(&body, "\0\1", 2);
  mqtt_string(&body, topic);
  add(&body, "\1", 1);
  add(&text, "\x82", 1);
  mqtt_length(&text, body.length);
  add(&text, body.at, body.length);
  write_all(fd, &text);
  char answer[5];
  read_exactly(fd, answer, 5);
  if ((answer[0] & 0xff) != 0x90 || answer[4] != 1) fail("SUBSCRIBE was refused");
  free(body.at);
  free(text.at);
}

static void nats_connect(int fd) {
  struct text text = { 0 };
  read_line(fd);
  say(&text, "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\nPING\r\n");
  write_all(fd, &text);
  if (strncmp(read_line(fd), "PONG", 4) != 0) fail("CONNECT was refused");
  free(text.at);
}

/* A request to JetStream, and whether it was granted. */
static void nats_ask(int fd, const char *subject, const char *json) {
  struct text text = { 0 };
  SAYF(&text, "PUB %s answer %zu\r\n", subject, strlen(json));
  say(&text, json);
  say(&text, "\r\n");
  write_all(fd, &text);
  const char *line = read_line(fd);
  if (strncmp(line, "MSG answer", 10) != 0) fail("JetStream did not answer");
  if (strstr(read_line(fd), "\"error\"") != NULL) fail("JetStream refused");
  free(text.at);
}

static void ws_connect(int fd) {
  struct text text = { 0 };
  SAYF(&text,
       "GET /v1 HTTP/1.1\r\nHost: localhost:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
       "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: asfaleia.1\r\n"
       "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", port);
  write_all(fd, &text);
  if (strstr(read_line(fd), "101") == NULL) fail("no WebSocket");
  while (read_line(fd)[0] != '\r') {}
  free(text.at);
}

/* Shows the token, so that the connection counts as proven; nothing waits in what it reads. */
static void prove(int fd, unsigned mailbox) {
  char line[2048];
  snprintf(line, sizeof line, "5;%s;0000000000000000", tokens[mailbox]);
  if (strncmp(ask(fd, line), "15;", 3) != 0) fail("the token was refused");
}

static void open_connection(struct connection *connection) {
  int fd = connection->fd = dial();
  char name[32];
  struct text text = { 0 };
  switch (protocol) {
    case WS:
      ws_connect(fd);
      prove(fd, connection->mailbox);
      break;
    case ASF:
      prove(fd, connection->mailbox);
      break;
    case REDIS:
      say(&text, "PING\r\n");
      write_all(fd, &text);
      read_line(fd);
      break;
    case MQTT:
      // A reader's name is its queue's; any other must not be another run's.
      if (mode == DRAIN) sprintf(name, "r%u", (unsigned)(connection - connections));
      else sprintf(name, "%d.%u", (int)getpid(), (unsigned)(connection - connections));
      mqtt_connect(fd, name, mode != DRAIN);
      if (connection->reader && mode != DRAIN) mqtt_subscribe(fd, connection->mailbox);
      break;
    case NATS:
      nats_connect(fd);
      if (connection->reader && mode != DRAIN) SAYF(&text, "SUB p.%u 1\r\n", connection->mailbox);
      else SAYF(&text, "SUB answer.%u 1\r\n", (unsigned)(connection - connections));
      say(&text, "PING\r\n");
      write_all(fd, &text);
      if (strncmp(read_line(fd), "PONG", 4) != 0) fail("SUB was refused");
      break;
  }
  free(text.at);
  if (connection->reader && protocol <= WS && (mode != DRAIN || subscribe_to_drain) && mode != IDLE) {
    // Answered while the loop runs: messages may follow at once.
    char line[2048];
    int length = snprintf(line, sizeof line, "6;%s", tokens[connection->mailbox]);
    put_packet(&connection->out, line, (size_t)length);
  }
}

/* The request of a sender, as often as its window has room. */
static void build_ring(struct connection *connection) {
  struct text one = { 0 }, all = { 0 };
  char head[256];
  unsigned m = connection->mailbox;
  connection->copies = window < 1 ? 1 : window > 64 ? 64 : window;
  for (size_t copy = 0; copy < connection->copies; copy++) {
    one.length = 0;
    switch (protocol) {
      case ASF:
      case WS:
        say(&one, "3;");
        say(&one, tokens[m]);
        say(&one, ";");
        say(&one, receivers[m]);
        say(&one, ";");
        add(&one, payload, size);
        put_packet(&all, one.at, one.length);
        break;
      case REDIS:
        SAYF(&all, "*3\r\n$5\r\nRPUSH\r\n$%d\r\nl%u\r\n$%zu\r\n", snprintf(head, sizeof head, "l%u", m), m, (size_t)size);
        add(&all, payload, size);
        say(&all, "\r\n");
        break;
      case MQTT: {
        // What waits and what is read online are other topics: else both would be stored.
        sprintf(head, "%c/%u", mode == STORE ? 't' : 'p', m);
        mqtt_string(&one, head);
        // An identifier is free again once it was acknowledged: a window of them is enough.
        unsigned char id[2] = { 0, (unsigned char)(copy + 1) };
        add(&one, id, 2);
        add(&one, payload, size);
        add(&all, "\x32", 1);
        mqtt_length(&all, one.length);
        add(&all, one.at, one.length);
        break;
      }
      case NATS:
        if (mode == STORE) SAYF(&all, "PUB s%u answer.%u %zu\r\n", m, (unsigned)(connection - connections), (size_t)size);
        else SAYF(&all, "PUB p.%u %zu\r\n", m, (size_t)size);
        add(&all, payload, size);
        say(&all, "\r\n");
        break;
    }
  }
  connection->ring = all.at;
  connection->packet = all.length / connection->copies;
  free(one.at);
}

/* What a reader says first. */
static void ask_for_more(struct connection *connection) {
  struct text *out = &connection->out;
  char line[2048];
  uint64_t more = connection->target - connection->asked;
  switch (protocol) {
    case ASF:
    case WS:
      if (subscribe_to_drain || mode != DRAIN) return;
      put_packet(out, line, (size_t)snprintf(line, sizeof line, "4;%s;lease", tokens[connection->mailbox]));
      return;
    case REDIS:
      if (mode == DRAIN) {
        if (connection->received < connection->target) SAYF(out, "LRANGE l%u 0 %d\r\n", connection->mailbox, PULL - 1);
        return;
      }
      while (connection->asked < connection->received + window) {
        SAYF(out, "BLPOP l%u 0\r\n", connection->mailbox);
        connection->asked++;
      }
      return;
    case NATS:
      if (mode != DRAIN || more == 0) return;
      if (more > PULL) more = PULL;
      connection->asked += more;
      connection->batch = more;
      more = (uint64_t)snprintf(line, sizeof line, "{\"batch\":%u}", (unsigned)more);
      SAYF(out, "PUB $JS.API.CONSUMER.MSG.NEXT.S%u.C answer.%u %u\r\n%s\r\n", connection->mailbox,
           (unsigned)(connection - connections), (unsigned)more, line);
      return;
    case MQTT:
      return;
  }
}

static void on_answer(struct connection *connection) {
  connection->answered++;
  all_answered++;
}

static void on_message(struct connection *connection) {
  if (connection->pair != NULL) {
    if (mode == PUSH) connection->pair->allowed++;
    if (mode == RATE && latency_count < latency_capacity) {
      latencies[latency_count++] = (uint32_t)(now() - connection->times[connection->received % TIMES]);
    }
  }
  connection->received++;
  all_received++;
}

/* Acknowledges what came, save one in `keep` where so asked. */
static void put_acks(struct connection *connection) {
  struct text line = { 0 };
  if (connection->id_count > 0) {
    say(&line, "5;");
    say(&line, tokens[connection->mailbox]);
    for (unsigned i = 0; i < connection->id_count; i++) add(&line, connection->ids[i], 17);
    put_packet(&connection->out, line.at, line.length);
    connection->id_count = 0;
    free(line.at);
  }
}

static uint64_t draw(struct connection *connection) {
  // xorshift64 (Marsaglia 2003): which messages stay is the same in every run.
  uint64_t x = connection->drawn;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return connection->drawn = x;
}

static void on_packet(struct connection *connection, const char *line, size_t length) {
  if (length < 3) fail("the server sent something else than a packet");
  if (line[0] == '2' && line[1] == '0') {
    on_message(connection);
    if (keep > 0 && draw(connection) % 100 < keep) {
      all_acknowledged++;
      connection->acknowledged++;
    } else {
      if (connection->id_count == IDS) put_acks(connection);
      memcpy(connection->ids[connection->id_count] + 1, line + 3, 16);
      connection->ids[connection->id_count++][0] = ';';
    }
    if (connection->batch > 0 && --connection->batch == 0) {
      put_acks(connection);
      if (connection->received < connection->target) ask_for_more(connection);
    }
    return;
  }
  if (line[0] == '1') {
    uint64_t number = strtoull(line + 3, NULL, 10);
    switch (line[1]) {
      case '3':
        on_answer(connection);
        return;
      case '4':
        connection->batch = number;
        if (number == 0 && connection->received < connection->target) fail("the server has lost messages");
        return;
      case '5':
        connection->acknowledged += number;
        all_acknowledged += number;
        return;
      case '6':
        return;
    }
  }
  fprintf(stderr, "load: %.40s\n", line);
  fail("the server refused");
}

/* Reads what it can, and gives where the rest begins. */
static char *parse(struct connection *connection, char *at, char *end) {
  switch (protocol) {
    case ASF:
      for (char *lf; (lf = memchr(at, '\n', (size_t)(end - at))) != NULL; at = lf + 1) on_packet(connection, at, (size_t)(lf - at));
      break;
    case WS:
      for (;;) {
        if (end - at < 2) break;
        size_t length = at[1] & 0x7f, head = 2;
        if (length == 126) {
          if (end - at < 4) break;
          length = (size_t)(at[2] & 0xff) << 8 | (at[3] & 0xff);
          head = 4;
        } else if (length == 127) {
          if (end - at < 10) break;
          length = 0;
          for (int i = 2; i < 10; i++) length = length << 8 | (at[i] & 0xff);
          head = 10;
        }
        if ((size_t)(end - at) < head + length) break;
        if ((at[0] & 0xf) > 2) fail("the server ended a WebSocket");
        on_packet(connection, at + head, length);
        at += head + length;
      }
      break;
    case REDIS:
      for (;;) {
        if (connection->skip > 0) {
          if ((size_t)(end - at) < connection->skip) break;
          at += connection->skip;
          connection->skip = 0;
          // BLPOP gives the list's name and a value.
          if (mode == DRAIN || ++connection->values % 2 == 0) on_message(connection);
          if (mode != DRAIN) {
            ask_for_more(connection);
          } else if (--connection->batch == 0) {
            SAYF(&connection->out, "LTRIM l%u %d -1\r\n", connection->mailbox, PULL);
            ask_for_more(connection);
          }
          continue;
        }
        char *lf = memchr(at, '\n', (size_t)(end - at));
        if (lf == NULL) break;
        switch (at[0]) {
          case ':':
            on_answer(connection);
            break;
          case '*':
            connection->batch = strtoull(at + 1, NULL, 10);
            if (connection->batch == 0) fail("the server has lost messages");
            break;
          case '$':
            connection->skip = strtoull(at + 1, NULL, 10) + 2;
            break;
          case '+':
            connection->acknowledged = connection->received;
            break;
          default:
            fail("the server refused");
        }
        at = lf + 1;
      }
      if (mode == DRAIN) all_acknowledged = all_received;
      break;
    case MQTT:
      while (end - at >= 2) {
        size_t length = 0, head = 1;
        for (int shift = 0; head < 5 && at + head < end; shift += 7) {
          length |= (size_t)(at[head] & 0x7f) << shift;
          if ((at[head++] & 0x80) == 0) break;
          if (at + head >= end) return at;
        }
        if ((size_t)(end - at) < head + length) return at;
        int type = (at[0] & 0xf0) >> 4;
        if (type == 4) {
          on_answer(connection);
        } else if (type == 3) {
          size_t topic = (size_t)(at[head] & 0xff) << 8 | (at[head + 1] & 0xff);
          add(&connection->out, "\x40\x02", 2);
          add(&connection->out, at + head + 2 + topic, 2);
          on_message(connection);
          all_acknowledged++;
        } else {
          fail("the broker sent something else");
        }
        at += head + length;
      }
      break;
    case NATS:
      for (;;) {
        if (connection->skip > 0) {
          if ((size_t)(end - at) < connection->skip) break;
          if (!connection->reader && memmem(at, connection->skip, "\"error\"", 7) != NULL) fail("JetStream refused");
          at += connection->skip;
          connection->skip = 0;
          if (!connection->reader) {
            on_answer(connection);
          } else {
            on_message(connection);
            all_acknowledged++;
            if (mode == DRAIN && --connection->batch == 0) ask_for_more(connection);
          }
          continue;
        }
        char *lf = memchr(at, '\n', (size_t)(end - at));
        if (lf == NULL) break;
        if (at[0] == 'M') {
          char *last = memrchr(at, ' ', (size_t)(lf - at));
          connection->skip = strtoull(last + 1, NULL, 10) + 2;
          if (connection->reader && mode == DRAIN) {
            char *reply = memrchr(at, ' ', (size_t)(last - at));
            say(&connection->out, "PUB ");
            add(&connection->out, reply + 1, (size_t)(last - reply - 1));
            say(&connection->out, " 4\r\n+ACK\r\n");
          }
        } else if (at[0] == 'P' && at[1] == 'I') {
          say(&connection->out, "PONG\r\n");
        } else if (at[0] == '-' || at[0] == 'H') {
          fail("the server refused");
        }
        at = lf + 1;
      }
      break;
  }
  return at;
}

static void watch(struct connection *connection, int writing) {
  if (connection->writing == writing) return;
  connection->writing = writing;
  struct epoll_event event = { .events = writing ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = connection };
  epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &event);
}

static void pump(struct connection *connection) {
  size_t at = 0;
  struct text *out = &connection->out;
  while (at < out->length) {
    ssize_t n = write(connection->fd, out->at + at, out->length - at);
    if (n < 0 && errno != EAGAIN) fail("the server ended a connection");
    if (n < 0) break;
    at += (size_t)n;
  }
  if (at < out->length) {
    memmove(out->at, out->at + at, out->length - at);
    out->length -= at;
    watch(connection, 1);
    return;
  }
  out->length = 0;
  if (connection->ring != NULL) {
    uint64_t allowed = connection->allowed;
    if (mode == STORE) allowed = connection->answered + window;
    if (allowed > connection->target) allowed = connection->target;
    size_t length = connection->packet * connection->copies;
    while (connection->sent_bytes < allowed * connection->packet) {
      size_t from = connection->sent_bytes % length, most = length - from;
      uint64_t left = allowed * connection->packet - connection->sent_bytes;
      ssize_t n = write(connection->fd, connection->ring + from, left < most ? left : most);
      if (n < 0 && errno == EAGAIN) {
        watch(connection, 1);
        return;
      }
      if (n < 0) fail("the server ended a connection");
      connection->sent_bytes += (uint64_t)n;
    }
  }
  watch(connection, 0);
}

static void take(struct connection *connection) {
  size_t held = connection->rest.length;
  if (held > REST) fail("a line without an end");
  memcpy(buffer, connection->rest.at, held);
  ssize_t n = read(connection->fd, buffer + held, READ);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) fail("the server ended a connection");
  char *end = buffer + held + n;
  char *at = parse(connection, buffer, end);
  connection->rest.length = 0;
  if (at < end) add(&connection->rest, at, (size_t)(end - at));
  // A subscriber acknowledges what came together in one packet.
  if (connection->reader && connection->batch == 0 && protocol <= WS) put_acks(connection);
}

/* Ends each connection so that the server has read all that was said: closing with unread bytes would reset it. */
static void hang_up(void) {
  struct timeval most = { .tv_sec = 2 };
  for (unsigned i = 0; i < connection_count; i++) {
    int fd = connections[i].fd;
    fcntl(fd, F_SETFL, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    shutdown(fd, SHUT_WR);
  }
  for (unsigned i = 0; i < connection_count; i++) while (read(connections[i].fd, buffer, READ) > 0) {}
}

static int is_over(uint64_t total) {
  if (mode == STORE) return all_answered >= total;
  return all_received >= total;
}

static void turn(int timeout) {
  struct epoll_event events[EVENTS];
  int count = epoll_wait(epoll, events, EVENTS, timeout);
  for (int i = 0; i < count; i++) {
    struct connection *connection = events[i].data.ptr;
    if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) take(connection);
    if (connection->pair != NULL && connection->reader && mode == PUSH) pump(connection->pair);
    pump(connection);
  }
}

/* Messages leave when they are due, whatever came back until then: a slow server does not slow the clock. */
static void run_at_rate(uint64_t total) {
  uint64_t start = now() + 1000000, interval = 1000000000u / rate;
  unsigned pairs = connection_count / 2;
  for (uint64_t sent = 0; all_received < total;) {
    uint64_t due = start + sent * interval, time = now();
    while (sent < total && due <= time) {
      struct connection *sender = &connections[(sent % pairs) * 2];
      sender->pair->times[sender->allowed % TIMES] = due;
      sender->allowed++;
      sent++;
      due += interval;
      pump(sender);
    }
    if (time > start + (uint64_t)((seconds + 30) * 1e9)) fail("messages did not come back");
    turn(spin ? 0 : sent < total ? 1 : 100);
  }
}

static int compare(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

static double percentile(double part) {
  uint64_t at = (uint64_t)(part * (double)latency_count);
  if (at >= latency_count) at = latency_count - 1;
  return latencies[at] / 1000.0;
}

static void read_mailboxes(void) {
  char line[4096];
  tokens = must(calloc(mailbox_count, sizeof *tokens));
  receivers = must(calloc(mailbox_count, sizeof *receivers));
  for (unsigned i = 0; i < mailbox_count; i++) {
    if (fgets(line, sizeof line, stdin) == NULL) fail("too few mailboxes on standard input");
    line[strcspn(line, "\n")] = 0;
    char *tab = strchr(line, '\t');
    if (tab == NULL) fail("a mailbox is `token TAB receiver`");
    *tab = 0;
    tokens[i] = must(strdup(line));
    receivers[i] = must(strdup(tab + 1));
  }
}

static void prepare(void) {
  char subject[128], json[512], name[32];
  for (unsigned m = 0; m < mailbox_count; m++) {
    int fd = dial();
    if (protocol == MQTT) {
      sprintf(name, "r%u", m);
      mqtt_connect(fd, name, 0);
      mqtt_subscribe(fd, m);
      if (write(fd, "\xe0\0", 2) != 2) fail("the server ended a connection");
    } else if (protocol == NATS) {
      struct text text = { 0 };
      nats_connect(fd);
      say(&text, "SUB answer 1\r\n");
      write_all(fd, &text);
      sprintf(subject, "$JS.API.STREAM.CREATE.S%u", m);
      sprintf(json, "{\"name\":\"S%u\",\"subjects\":[\"s%u\"],\"retention\":\"workqueue\",\"storage\":\"memory\","
                    "\"max_msgs\":-1,\"max_bytes\":-1,\"max_age\":0,\"num_replicas\":1,\"discard\":\"new\"}", m, m);
      nats_ask(fd, subject, json);
      sprintf(subject, "$JS.API.CONSUMER.DURABLE.CREATE.S%u.C", m);
      sprintf(json, "{\"stream_name\":\"S%u\",\"config\":{\"durable_name\":\"C\",\"deliver_policy\":\"all\","
                    "\"ack_policy\":\"explicit\",\"ack_wait\":600000000000,\"max_ack_pending\":1000}}", m);
      nats_ask(fd, subject, json);
      free(text.at);
    }
    close(fd);
  }
}

/* What a stranger can do at least cost: as many challenges as a connection gives, then another connection. */
static void flood(void) {
  uint64_t count = 0;
  fcntl(0, F_SETFL, O_NONBLOCK);
  char byte;
  while (read(0, &byte, 1) < 0) {
    struct text text = { 0 };
    int fd = dial();
    for (int i = 0; i < 8; i++) SAYF(&text, "0;%s\n", receivers[count % mailbox_count]);
    write_all(fd, &text);
    for (int i = 0; i < 8; i++) if (read_line(fd)[0] == '1') count++;
    free(text.at);
    close(fd);
  }
  printf("{\"challenges\":%llu}\n", (unsigned long long)count);
}

static void wait_for_line(void) {
  char line[64];
  printf("ready\n");
  fflush(stdout);
  if (fgets(line, sizeof line, stdin) == NULL) exit(0);
}

static int index_of(const char *const *names, const char *name) {
  for (int i = 0; names[i] != NULL; i++) if (strcmp(names[i], name) == 0) return i;
  fail("usage: load PROTOCOL MODE PORT [key=value …]");
  return -1;
}

int main(int argc, char **argv) {
  static const char *const protocols[] = { "asf", "ws", "redis", "mqtt", "nats", NULL };
  static const char *const modes[] = { "prepare", "store", "drain", "push", "rate", "idle", "flood", NULL };
  signal(SIGPIPE, SIG_IGN);
  if (argc < 4) index_of(protocols, "");
  protocol = (enum protocol)index_of(protocols, argv[1]);
  mode = (enum mode)index_of(modes, argv[2]);
  port = atoi(argv[3]);
  for (int i = 4; i < argc; i++) {
    char *value = strchr(argv[i], '=');
    if (value == NULL) fail("options are key=value");
    *value++ = 0;
    if (strcmp(argv[i], "connections") == 0) connection_count = (unsigned)atoi(value);
    else if (strcmp(argv[i], "mailboxes") == 0) mailbox_count = (unsigned)atoi(value);
    else if (strcmp(argv[i], "messages") == 0) messages = strtoull(value, NULL, 10);
    else if (strcmp(argv[i], "window") == 0) window = (unsigned)atoi(value);
    else if (strcmp(argv[i], "size") == 0) size = strtoull(value, NULL, 10);
    else if (strcmp(argv[i], "rate") == 0) rate = strtoull(value, NULL, 10);
    else if (strcmp(argv[i], "seconds") == 0) seconds = atof(value);
    else if (strcmp(argv[i], "keep") == 0) keep = (unsigned)atoi(value);
    else if (strcmp(argv[i], "spin") == 0) spin = atoi(value);
    else if (strcmp(argv[i], "by") == 0) subscribe_to_drain = strcmp(value, "subscribe") == 0;
    else fail("there is no such option");
  }
  if (mailbox_count == 0) mailbox_count = connection_count;
  payload = must(malloc(size));
  for (uint64_t i = 0; i < size; i++) payload[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[i * 7 % 64];
  if (protocol <= WS) read_mailboxes();
  if (mode == PREPARE) {
    prepare();
    printf("{}\n");
    return 0;
  }
  if (mode == FLOOD) {
    wait_for_line();
    flood();
    return 0;
  }
  int paired = mode == PUSH || mode == RATE;
  if (paired) connection_count *= 2;
  connections = must(calloc(connection_count, sizeof *connections));
  epoll = epoll_create1(0);
  for (unsigned i = 0; i < connection_count; i++) {
    struct connection *connection = &connections[i];
    connection->reader = mode == DRAIN || (paired && i % 2 == 1);
    connection->mailbox = (paired ? i / 2 : i) % mailbox_count;
    connection->drawn = 88172645463325252u + i;
    if (paired) connection->pair = &connections[i ^ 1];
  }
  // A broker sends what waits as soon as it knows who is there: then connecting is part of what is measured.
  int late = protocol == MQTT && mode == DRAIN;
  if (late) wait_for_line();
  uint64_t start = now();
  for (unsigned i = 0; i < connection_count; i++) open_connection(&connections[i]);
  if (mode == IDLE) {
    wait_for_line();
    return 0;
  }
  uint64_t total = mode == RATE ? (uint64_t)((double)rate * seconds) : messages;
  unsigned senders = paired ? connection_count / 2 : connection_count;
  total -= total % senders;
  for (unsigned i = 0; i < connection_count; i++) {
    struct connection *connection = &connections[i];
    connection->target = total / senders;
    connection->allowed = mode == RATE ? 0 : window;
    if (connection->reader) ask_for_more(connection);
    else build_ring(connection);
    if (connection->reader && mode == RATE) connection->times = must(calloc(TIMES, sizeof(uint64_t)));
    fcntl(connection->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = connection };
    epoll_ctl(epoll, EPOLL_CTL_ADD, connection->fd, &event);
  }
  latency_capacity = mode == RATE ? total : 0;
  latencies = must(calloc(latency_capacity + 1, sizeof *latencies));
  // Subscriptions before the first message.
  if (paired) {
    for (unsigned i = 1; i < connection_count; i += 2) pump(&connections[i]);
    struct timespec moment = { .tv_nsec = 100000000 };
    nanosleep(&moment, NULL);
  }
  if (!late) {
    wait_for_line();
    start = now();
  }
  if (mode == RATE) {
    run_at_rate(total);
  } else {
    for (unsigned i = 0; i < connection_count; i++) pump(&connections[i]);
    while (!is_over(total)) turn(-1);
  }
  uint64_t end = now();
  // What was read is acknowledged before this ends, so that the next run finds nothing of it.
  if ((paired || mode == DRAIN) && protocol <= WS) while (all_acknowledged < total) turn(-1);
  for (unsigned i = 0; i < connection_count; i++) {
    while (connections[i].out.length > 0) turn(-1);
  }
  printf("{\"messages\":%llu,\"seconds\":%.6f", (unsigned long long)total, (double)(end - start) / 1e9);
  if (mode == RATE) {
    qsort(latencies, latency_count, sizeof *latencies, compare);
    printf(",\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f", percentile(0.5), percentile(0.99), percentile(0.999));
  }
  printf("}\n");
  fflush(stdout);
  hang_up();
  return 0;
}

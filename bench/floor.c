/*
 * The floor: what a relay costs at least on this machine. An epoll loop in C that speaks the lines of
 * docs/protocol.md for SEND, GET, ACK, SUBSCRIBE and PING, and keeps messages in memory. It takes any
 * token, checks no payload, limits, expires and overwrites nothing: never run it for anything but measuring.
 *
 * A mailbox is a number, which stands after the last '.' of a token or of a receiver.
 * Usage: floor. Listens on a free port of 127.0.0.1, says `tcp 127.0.0.1:PORT`, then `ready`.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 1 << 18, EVENTS = 512, BATCH = 128, BATCH_BYTES = 1 << 20, WINDOW = 64, LINE = 1 << 17, DIRTY = 4096 };

struct message {
  struct message *next;
  uint64_t id;
  uint32_t length;
  char payload[];
};

struct queue {
  struct message *head, *tail;
};

struct connection;

struct mailbox {
  struct queue waiting, leased;
  unsigned count, window;
  struct connection *subscriber;
};

struct connection {
  int fd, writing, dirty;
  char *rest, *out;
  size_t rest_length, out_length, out_capacity, out_at;
  char *token;
  size_t token_length;
  unsigned mailbox;
};

static struct mailbox *mailboxes;
static unsigned mailbox_count;
static uint64_t last_id;
static int epoll;
static char buffer[BUFFER + LINE];
static struct connection *dirty[DIRTY];
static unsigned dirty_count;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void *must(void *pointer) {
  if (pointer == NULL) fail("memory");
  return pointer;
}

static struct mailbox *mailbox_of(unsigned number) {
  if (number >= mailbox_count) {
    unsigned count = mailbox_count == 0 ? 1024 : mailbox_count;
    while (count <= number) count *= 2;
    mailboxes = must(realloc(mailboxes, count * sizeof *mailboxes));
    memset(mailboxes + mailbox_count, 0, (count - mailbox_count) * sizeof *mailboxes);
    mailbox_count = count;
  }
  return &mailboxes[number];
}

static void append(struct queue *queue, struct message *message) {
  message->next = NULL;
  if (queue->tail == NULL) queue->head = message;
  else queue->tail->next = message;
  queue->tail = message;
}

static char *reserve(struct connection *connection, size_t bytes) {
  size_t need = connection->out_length + bytes;
  if (need > connection->out_capacity) {
    size_t capacity = need * 2 < 512 ? 512 : need * 2;
    connection->out = must(realloc(connection->out, capacity));
    connection->out_capacity = capacity;
  }
  return connection->out + connection->out_length;
}

static void say_number(struct connection *connection, const char *start, unsigned a, const char *middle, unsigned b) {
  connection->out_length += (size_t)sprintf(reserve(connection, 64), "%s%u%s", start, a, middle);
  if (middle[0] == ';') connection->out_length += (size_t)sprintf(reserve(connection, 64), "%u\n", b);
}

static void write_id(char *to, uint64_t id) {
  for (int i = 15; i >= 0; i--, id >>= 4) to[i] = "0123456789abcdef"[id & 15];
}

static void say_message(struct connection *connection, const struct message *message) {
  char *to = reserve(connection, message->length + 21);
  memcpy(to, "20;", 3);
  write_id(to + 3, message->id);
  to[19] = ';';
  memcpy(to + 20, message->payload, message->length);
  to[20 + message->length] = '\n';
  connection->out_length += message->length + 21;
}

static void flush(struct connection *connection) {
  while (connection->out_at < connection->out_length) {
    ssize_t n = write(connection->fd, connection->out + connection->out_at, connection->out_length - connection->out_at);
    if (n < 0 && errno == EAGAIN) {
      struct epoll_event event = { .events = EPOLLOUT, .data.ptr = connection };
      if (!connection->writing) epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &event);
      connection->writing = 1;
      return;
    }
    if (n < 0) break;
    connection->out_at += (size_t)n;
  }
  connection->out_at = connection->out_length = 0;
  if (connection->writing) {
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = connection };
    epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &event);
    connection->writing = 0;
  }
}

/* The subscribers of a turn get what came for them in one write each. */
static void wake(void) {
  while (dirty_count > 0) {
    struct connection *woken = dirty[--dirty_count];
    woken->dirty = 0;
    flush(woken);
  }
}

static void deliver(struct mailbox *mailbox) {
  struct connection *to = mailbox->subscriber;
  while (mailbox->window < WINDOW && mailbox->waiting.head != NULL) {
    struct message *message = mailbox->waiting.head;
    mailbox->waiting.head = message->next;
    if (message->next == NULL) mailbox->waiting.tail = NULL;
    append(&mailbox->leased, message);
    mailbox->window++;
    say_message(to, message);
    if (to->dirty) continue;
    to->dirty = 1;
    if (dirty_count == DIRTY) wake();
    dirty[dirty_count++] = to;
  }
}

static unsigned number_at_end(const char *field, size_t length) {
  const char *dot = memrchr(field, '.', length);
  return dot == NULL ? 0 : (unsigned)strtoul(dot + 1, NULL, 10);
}

static struct mailbox *authorize(struct connection *connection, const char *token, size_t length) {
  if (connection->token_length != length || memcmp(connection->token, token, length) != 0) {
    connection->token = must(realloc(connection->token, length));
    memcpy(connection->token, token, length);
    connection->token_length = length;
    connection->mailbox = number_at_end(token, length);
  }
  return mailbox_of(connection->mailbox);
}

static void acknowledge(struct connection *connection, struct mailbox *mailbox, const char *at, const char *end) {
  unsigned erased = 0;
  while (at + 16 <= end) {
    uint64_t id = 0;
    for (int i = 0; i < 16; i++) id = id << 4 | (uint64_t)(at[i] <= '9' ? at[i] - '0' : at[i] - 'a' + 10);
    struct message *before = NULL;
    for (struct message *message = mailbox->leased.head; message != NULL; before = message, message = message->next) {
      if (message->id != id) continue;
      if (before == NULL) mailbox->leased.head = message->next;
      else before->next = message->next;
      if (message->next == NULL) mailbox->leased.tail = before;
      free(message);
      mailbox->count--;
      if (mailbox->window > 0) mailbox->window--;
      erased++;
      break;
    }
    at += 17;
  }
  say_number(connection, "15;", erased, "\n", 0);
  if (mailbox->subscriber != NULL) deliver(mailbox);
}

static void answer(struct connection *connection, const char *line, size_t length) {
  const char *end = line + length;
  if (length == 1 && line[0] == '7') {
    memcpy(reserve(connection, 3), "17\n", 3);
    connection->out_length += 3;
    return;
  }
  if (length < 3 || line[1] != ';') goto wrong;
  const char *token = line + 2;
  const char *token_end = memchr(token, ';', (size_t)(end - token));
  if (token_end == NULL) token_end = end;
  struct mailbox *mailbox = authorize(connection, token, (size_t)(token_end - token));
  switch (line[0]) {
    case '3': {
      const char *receiver = token_end + 1;
      const char *receiver_end = receiver < end ? memchr(receiver, ';', (size_t)(end - receiver)) : NULL;
      if (receiver_end == NULL) goto wrong;
      size_t payload = (size_t)(end - receiver_end - 1);
      struct message *message = must(malloc(sizeof *message + payload));
      message->id = ++last_id;
      message->length = (uint32_t)payload;
      memcpy(message->payload, receiver_end + 1, payload);
      struct mailbox *to = mailbox_of(number_at_end(receiver, (size_t)(receiver_end - receiver)));
      append(&to->waiting, message);
      to->count++;
      char *out = reserve(connection, 27);
      memcpy(out, "13;", 3);
      write_id(out + 3, message->id);
      memcpy(out + 19, ";604800\n", 8);
      connection->out_length += 27;
      if (to->subscriber != NULL) deliver(to);
      return;
    }
    case '4': {
      unsigned count = 0;
      size_t bytes = 0;
      for (struct message *m = mailbox->waiting.head; m != NULL && count < BATCH; m = m->next) {
        bytes += m->length;
        if (bytes > BATCH_BYTES && count > 0) break;
        count++;
      }
      say_number(connection, "14;", count, ";", mailbox->count - count);
      for (; count > 0; count--) {
        struct message *message = mailbox->waiting.head;
        mailbox->waiting.head = message->next;
        if (message->next == NULL) mailbox->waiting.tail = NULL;
        append(&mailbox->leased, message);
        say_message(connection, message);
      }
      return;
    }
    case '5':
      acknowledge(connection, mailbox, token_end + 1, end);
      return;
    case '6':
      say_number(connection, "16;", mailbox->count, "\n", 0);
      mailbox->subscriber = connection;
      mailbox->window = 0;
      deliver(mailbox);
      return;
  }
wrong:
  memcpy(reserve(connection, 28), "99;unknown-packet;the floor\n", 28);
  connection->out_length += 28;
}

static void end(struct connection *connection) {
  for (unsigned i = 0; i < mailbox_count; i++) {
    if (mailboxes[i].subscriber == connection) mailboxes[i].subscriber = NULL;
  }
  close(connection->fd);
  free(connection->rest);
  free(connection->out);
  free(connection->token);
  free(connection);
}

static int take(struct connection *connection) {
  size_t held = connection->rest_length;
  if (held > 0) memcpy(buffer, connection->rest, held);
  ssize_t n = read(connection->fd, buffer + held, BUFFER);
  if (n < 0 && errno == EAGAIN) return 1;
  if (n <= 0) return 0;
  char *at = buffer, *stop = buffer + held + n, *search = buffer + held;
  for (char *lf; (lf = memchr(search, '\n', (size_t)(stop - search))) != NULL; search = at) {
    answer(connection, at, (size_t)(lf - at));
    at = lf + 1;
  }
  size_t left = (size_t)(stop - at);
  if (left > LINE) return 0;
  if (left > 0) {
    connection->rest = must(realloc(connection->rest, left));
    memcpy(connection->rest, at, left);
  } else if (held > 0) {
    free(connection->rest);
    connection->rest = NULL;
  }
  connection->rest_length = left;
  flush(connection);
  return 1;
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  socklen_t size = sizeof address;
  if (bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 4096) < 0) fail("listen");
  getsockname(listener, (struct sockaddr *)&address, &size);
  printf("tcp 127.0.0.1:%d\nready\n", ntohs(address.sin_port));
  fflush(stdout);
  epoll = epoll_create1(0);
  struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    struct epoll_event events[EVENTS];
    int count = epoll_wait(epoll, events, EVENTS, -1);
    if (count < 0 && errno != EINTR) fail("epoll");
    for (int i = 0; i < count; i++) {
      struct connection *connection = events[i].data.ptr;
      if (connection == NULL) {
        for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
          int one = 1;
          setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
          struct connection *fresh = must(calloc(1, sizeof *fresh));
          fresh->fd = fd;
          event.data.ptr = fresh;
          event.events = EPOLLIN;
          epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
        }
        continue;
      }
      if (events[i].events & EPOLLOUT) {
        flush(connection);
      } else if (!take(connection)) {
        for (unsigned d = 0; d < dirty_count; d++) if (dirty[d] == connection) dirty[d] = dirty[--dirty_count];
        end(connection);
      }
    }
    wake();
  }
}

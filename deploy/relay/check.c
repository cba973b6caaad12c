/*
 * The health check of the relay's container: asks the relay at its operator's socket whether it is ready (GET /readyz).
 * Prints nothing if it is, and otherwise the reasons of src/operator/metrics.ts, a line each: Docker keeps this text on
 * disk. Exits with 0 if the relay is ready, with 1 if not. Written in C because Docker runs it every few seconds: a Node
 * each time took 1.4 % of a processor.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define OPERATOR "/run/operator/socket"
/* Three checks, five seconds apart, then find a frozen relay within 30 seconds. */
#define LATE_MS 2000

static long milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000L + now.tv_nsec / 1000000;
}

/* Asks, and reads the answer to its end, as text; its length, or 0 for no answer in time. */
static size_t ask(char *answer, size_t size) {
  static const char request[] = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = OPERATOR};
  int relay = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (relay < 0 || connect(relay, (struct sockaddr *)&address, sizeof address) != 0) return 0;
  if (send(relay, request, sizeof request - 1, MSG_NOSIGNAL) != sizeof request - 1) return 0;
  long late = milliseconds() + LATE_MS;
  for (size_t length = 0;;) {
    struct pollfd waiting = {.fd = relay, .events = POLLIN};
    long left = late - milliseconds();
    if (left <= 0 || length == size - 1 || poll(&waiting, 1, (int)left) <= 0) return 0;
    ssize_t got = read(relay, answer + length, size - 1 - length);
    if (got < 0) return 0;
    length += (size_t)got;
    answer[length] = '\0';
    if (got == 0) return length;
  }
}

int main(void) {
  char answer[4096];
  if (ask(answer, sizeof answer) == 0) {
    puts("the relay does not answer");
    return 1;
  }
  if (strncmp(answer, "HTTP/1.1 200 ", 13) == 0) return 0;
  char *reason = strstr(answer, "\"reasons\":[");
  if (strncmp(answer, "HTTP/1.1 503 ", 13) != 0 || reason == NULL) {
    puts("the program at the operator's socket is not a relay");
    return 1;
  }
  reason += strlen("\"reasons\":[");
  reason[strcspn(reason, "]")] = '\0';
  for (char *word = strtok(reason, ","); word != NULL; word = strtok(NULL, ",")) {
    /* Words of a closed set; of anything else only letters and hyphens are printed. */
    char shown[41] = "";
    size_t length = 0;
    for (; *word != '\0' && length < sizeof shown - 1; word++)
      if ((*word >= 'a' && *word <= 'z') || *word == '-') shown[length++] = *word;
    shown[length] = '\0';
    puts(shown);
  }
  return 1;
}

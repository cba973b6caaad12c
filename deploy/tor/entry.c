/*
 * Starts tor in its container, gives the service's name to the relay, and prints the address as soon as clients can
 * find the service. It is written in C so that the image has neither a shell nor a Node beside tor.
 *
 *   entry          runs tor: passes signals on, publishes the name, ends when tor ends, with tor's exit code
 *   entry check    for the health check: prints one line on tor's progress; 0 if tor is on line, otherwise 1
 *   entry address  prints the service's address; 1 if tor made no key yet
 *
 * It has tor reload when a client's file in the folder of a service, a key in CLIENTS, or the service in NEXT comes or
 * goes, and it ends memberships that have a last day. So no person sends a signal: the engine takes every `docker
 * kill`, with any signal, for a wish to stop the container, and does not start the container again after it ends.
 *
 * It asks tor's control socket (control-spec.txt: AUTHENTICATE, SETEVENTS HS_DESC, GETINFO status/bootstrap-phase,
 * SIGNAL NEWNYM) and nothing else. Of the services' folders it publishes only the files `hostname`. It reads no key,
 * except for the header of the file.
 *
 * Every two seconds it writes tor's progress to a file for the relay, or that tor is silent.
 *
 * At intervals it connects through Tor to the service's own address, as clients do, and writes the result to a file
 * for the relay (docs/decisions/0010-who-probes.md). If there is a second service in NEXT, tor serves both, and the
 * relay learns which address it is leaving. When the operator has removed the first, the second takes its place.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DATA "/var/lib/tor"
#define SERVICE DATA "/onion"
#define HOSTNAME SERVICE "/hostname"
/* A new address for the relay, beside the old one: `asfaleia rotate --to` makes it. */
#define NEXT DATA "/next"
#define NEXT_HOSTNAME NEXT "/hostname"
/* Private keys of clients, with which the probe finds a closed service. */
#define CLIENTS DATA "/clients"
/* The public keys of members, and those whose membership is over. */
#define MEMBERS SERVICE "/authorized_clients"
#define NEXT_MEMBERS NEXT "/authorized_clients"
#define OVER DATA "/over"
#define TORRC "/etc/tor/torrc"
/* What TORRC includes: the lines for NEXT, if it is there. */
#define NEXT_TORRC "/run/tor/next.conf"
#define SOCKS "/run/tor/socks"
#define CONTROL "/run/tor/control"
#define COOKIE "/run/tor/cookie"
#define DOORS "/run/asfaleia"
#define NAMES "/run/name"
/* The address on one line, and on the next line the address that the relay is leaving, if any. */
#define NAME NAMES "/hostname"
/* The result of the last probe: `reached MILLISECONDS`, or `failed TRIES PROBLEM`. */
#define REACHED NAMES "/reached"
/* Tor's state: `PERCENT TAG` of its start, or `silent`. If the file gets old, the relay counts tor as dead. */
#define STATE NAMES "/tor"

/* An address of version 3: 56 characters of base32, ".onion". */
#define ONION_LENGTH 62
/* Enough uploads of a descriptor: a client asks several of at least eight directories. */
#define ENOUGH_UPLOADS 6
#define TICK_MS 50
/* If tor makes no progress for so long, it most likely has no network. */
#define PATIENCE_S 60
#define CHECK_S 3
/* Time between two looks at the folders. */
#define LOOK_MS 1000
/* The least time that it runs. */
#define STAY_MS 2000
/* For how long a membership that is over can come back with the clock. */
#define OVER_S (30 * 86400)
/* Time between two questions to tor, and the time without an answer after which tor counts as silent. */
#define ASK_S 2
#define SILENT_S 6
/* If the state is this old, this program hangs. */
#define STALE_S 15
/* The relay's socket may be missing for so long, as it is while one relay follows another. */
#define MISSING_S 10
/* Time limit of the probe for a connection through Tor, and again for an answer. */
#define TRY_MS 60000
/* Default of ASFALEIA_PROBE_EVERY; after a failure the next probe comes SOONER times as soon. */
#define PROBE_S 300
#define SOONER 5
#define PORT 3308

static void say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("asfaleia: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
}

static time_t seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec;
}

/* Reads the onion address that a file begins with. */
static bool read_name(const char *path, char name[ONION_LENGTH + 1]) {
  char text[ONION_LENGTH + 1];
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0) return false;
  ssize_t length = read(file, text, sizeof text);
  close(file);
  if (length != ONION_LENGTH + 1 || text[ONION_LENGTH] != '\n') return false;
  text[ONION_LENGTH] = '\0';
  if (strspn(text, "abcdefghijklmnopqrstuvwxyz234567") != ONION_LENGTH - 6 || strcmp(text + ONION_LENGTH - 6, ".onion") != 0)
    return false;
  memcpy(name, text, ONION_LENGTH + 1);
  return true;
}

/* Writes a file atomically: first to `beside`, in the same folder as `path`. */
static bool publish(const char *path, const char *beside, const char *format, ...) {
  va_list arguments;
  int file = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return false;
  va_start(arguments, format);
  bool written = vdprintf(file, format, arguments) >= 0;
  va_end(arguments);
  return close(file) == 0 && written && rename(beside, path) == 0;
}

/* Reads the services' addresses: the one to use, and the one that the relay is leaving, or "". */
static bool read_names(char name[ONION_LENGTH + 1], char left[ONION_LENGTH + 1]) {
  left[0] = '\0';
  if (!read_name(NEXT_HOSTNAME, name)) return read_name(HOSTNAME, name);
  (void)read_name(HOSTNAME, left);
  return true;
}

static bool publish_names(const char *name, const char *left) {
  return publish(NAME, NAME ".new", left[0] == '\0' ? "%s\n" : "%s\n%s\n", name, left);
}

/*
 * Writes the lines for NEXT before tor reads its torrc: those of the first service with another folder. If there is no
 * first service any more, NEXT takes its place.
 */
static bool arrange_services(void) {
  char line[1024];
  if (access(NEXT_HOSTNAME, F_OK) == 0 && access(HOSTNAME, F_OK) != 0 && rename(NEXT, SERVICE) != 0) return false;
  if (mkdir(CLIENTS, 0700) != 0 && errno != EEXIST) return false;
  FILE *lines = fopen(TORRC, "re");
  FILE *next = fopen(NEXT_TORRC, "we");
  bool arranged = lines != NULL && next != NULL;
  bool both = access(NEXT_HOSTNAME, F_OK) == 0;
  while (arranged && both && fgets(line, sizeof line, lines) != NULL) {
    if (strncmp(line, "HiddenServiceDir ", 17) == 0) fputs("HiddenServiceDir " NEXT "\n", next);
    else if (strncmp(line, "HiddenService", 13) == 0) fputs(line, next);
  }
  if (lines != NULL) fclose(lines);
  return (next == NULL || fclose(next) == 0) && arranged;
}

/* A connection to tor's control socket. The buffer cuts longer lines. */
struct control {
  int socket;
  size_t length;
  char line[1024];
};

static bool tell(struct control *control, const char *command) {
  size_t length = strlen(command);
  return send(control->socket, command, length, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)length;
}

/* Connects, and authenticates with tor's cookie. The answer comes as a line like any other. */
static bool open_control(struct control *control) {
  unsigned char cookie[32];
  char command[sizeof "AUTHENTICATE \r\n" + 2 * sizeof cookie] = "AUTHENTICATE ";
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = CONTROL};
  int file = open(COOKIE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0) return false;
  ssize_t length = read(file, cookie, sizeof cookie);
  close(file);
  if (length != sizeof cookie) return false;
  control->length = 0;
  control->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (control->socket < 0) return false;
  char *end = command + strlen(command);
  for (size_t i = 0; i < sizeof cookie; i++) end += sprintf(end, "%02x", cookie[i]);
  strcpy(end, "\r\n");
  if (connect(control->socket, (struct sockaddr *)&address, sizeof address) == 0 && tell(control, command)) return true;
  close(control->socket);
  return false;
}

/* Calls `hear` with each complete line; false if the connection has ended. */
static bool read_control(struct control *control, void (*hear)(void *, const char *), void *state) {
  char chunk[1024];
  ssize_t length = read(control->socket, chunk, sizeof chunk);
  if (length < 0) return errno == EINTR || errno == EAGAIN;
  for (ssize_t i = 0; i < length; i++) {
    if (chunk[i] == '\n') {
      control->line[control->length] = '\0';
      control->length = 0;
      hear(state, control->line);
    } else if (chunk[i] != '\r' && control->length < sizeof control->line - 1) {
      control->line[control->length++] = chunk[i];
    }
  }
  return length > 0;
}

/* Tor's progress at its start: percent, and tor's tag of the phase (letters and underscores). */
struct phase {
  int percent;
  char tag[32];
  bool refused;
};

static void hear_phase(void *state, const char *line) {
  struct phase *phase = state;
  if (line[0] == '4' || line[0] == '5') phase->refused = true;
  const char *progress = strstr(line, " BOOTSTRAP PROGRESS=");
  if (progress == NULL) return;
  const char *tag = strstr(progress, " TAG=");
  phase->percent = atoi(progress + strlen(" BOOTSTRAP PROGRESS="));
  if (tag != NULL) sscanf(tag, " TAG=%31[a-z_]", phase->tag);
}

static int check(void) {
  struct control control;
  struct phase phase = {.percent = -1, .tag = "starting"};
  char name[ONION_LENGTH + 1];
  time_t late = seconds() + CHECK_S;
  if (open_control(&control) && tell(&control, "GETINFO status/bootstrap-phase\r\n")) {
    struct pollfd waiting = {.fd = control.socket, .events = POLLIN};
    while (phase.percent < 0 && !phase.refused && seconds() < late) {
      if (poll(&waiting, 1, 1000) > 0 && !read_control(&control, hear_phase, &phase)) break;
    }
  }
  if (phase.percent < 0) {
    puts("tor does not answer");
    return 1;
  }
  struct stat state;
  if (stat(STATE, &state) == 0 && labs((long)(time(NULL) - state.st_mtime)) > STALE_S) {
    puts("entry, which runs tor, hangs");
    return 1;
  }
  if (phase.percent < 100) {
    printf("tor is not on line yet: %d %%, %s\n", phase.percent, phase.tag);
    return 1;
  }
  if (!read_name(NAME, name)) {
    puts("the relay was not told the name");
    return 1;
  }
  puts("tor is on line");
  return 0;
}

static int address(void) {
  char name[ONION_LENGTH + 1];
  if (!read_name(NAME, name)) {
    say("error: there is no address yet");
    return 1;
  }
  puts(name);
  return 0;
}

/* Reports every problem of the folders that compose mounts, each with a remedy. */
static bool check_folders(void) {
  struct stat data;
  bool sound = true;
  if (stat(DATA, &data) != 0 || data.st_uid != geteuid() || access(DATA, W_OK | X_OK) != 0) {
    say("error: " DATA ", the volume of the onion service's keys, is not there, not writable, or not owned by user %d", geteuid());
    say("hint: a volume that compose makes is right; a folder of yours needs `chown -R %d:%d` and mode 0700", geteuid(), getegid());
    sound = false;
  }
  if (access("/run/tor", W_OK | X_OK) != 0) {
    say("error: /run/tor is not writable");
    say("hint: mount a tmpfs there that belongs to user %d", geteuid());
    sound = false;
  }
  if (access(NAMES, W_OK | X_OK) != 0) {
    say("error: " NAMES ", where the relay reads the name, is not writable");
    say("hint: remove its volume, compose makes it anew: docker compose down, then up (not down -v, which removes the keys)");
    sound = false;
  }
  if (access(DOORS, X_OK) != 0) {
    say("error: " DOORS ", the folder of the relay's sockets, cannot be entered");
    say("hint: it belongs to group 3308, which this container has to be in (group_add)");
    sound = false;
  }
  return sound;
}

/* One probe: its socket, and the time (ms) by which the next answer has to be there. */
struct try {
  int socket;
  long late;
};

static long milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000L + now.tv_nsec / 1000000;
}

static bool put(struct try *try, const void *bytes, size_t length) {
  return send(try->socket, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;
}

/* Reads exactly so many bytes, in time. */
static bool take(struct try *try, void *bytes, size_t length) {
  for (size_t at = 0; at < length;) {
    struct pollfd waiting = {.fd = try->socket, .events = POLLIN};
    long left = try->late - milliseconds();
    if (left <= 0 || poll(&waiting, 1, (int)left) <= 0) return false;
    ssize_t got = read(try->socket, (char *)bytes + at, length - at);
    if (got <= 0) return false;
    at += (size_t)got;
  }
  return true;
}

/* Reads one line of the relay, cut to the buffer, without its end. It skips notices (98). */
static bool take_line(struct try *try, char *line, size_t size) {
  do {
    size_t length = 0;
    for (;;) {
      char byte;
      if (!take(try, &byte, 1)) return false;
      if (byte == '\n') break;
      if (length < size - 1) line[length++] = byte;
    }
    line[length] = '\0';
  } while (strncmp(line, "98;", 3) == 0);
  return true;
}

/* RFC 1928, section 6, and tor's ExtendedErrors, in the words of src/operator/probe.ts. */
static const char *explain(unsigned char reply) {
  switch (reply) {
    case 0x04:
    case 0xf0:
    case 0xf1: return "onion-not-found";
    case 0xf2:
    case 0xf3:
    case 0xf7: return "onion-unreachable";
    case 0xf4:
    case 0xf5: return "onion-locked";
    case 0xf6: return "onion-malformed";
    case 0x05: return "relay-down";
    case 0x06: return "connect-timeout";
    default: return "unreachable";
  }
}

/* Connects through tor's SOCKS5 (RFC 1928, 1929), over circuits of its own. Returns the problem, or NULL. */
static const char *connect_through(struct try *try, const char *name) {
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = SOCKS};
  unsigned char drawn[16], isolation[3 + 2 * 32], request[7 + ONION_LENGTH], answer[4], rest[255];
  if (connect(try->socket, (struct sockaddr *)&address, sizeof address) != 0) return "proxy-down";
  if (getrandom(drawn, sizeof drawn, 0) != sizeof drawn) return "proxy-failed";
  /* Version 1, user and password of 32 letters each. Tor puts streams with another pair on other circuits. */
  isolation[0] = 1, isolation[1] = isolation[34] = 32;
  for (size_t i = 0; i < 32; i++) isolation[2 + i] = isolation[35 + i] = "0123456789abcdef"[drawn[i / 2] >> (i % 2 * 4) & 15];
  if (!put(try, "\5\1\2", 3) || !take(try, answer, 2) || answer[0] != 5 || answer[1] != 2) return "proxy-failed";
  if (!put(try, isolation, sizeof isolation) || !take(try, answer, 2) || answer[1] != 0) return "proxy-failed";
  memcpy(request, "\5\1\0\3", 4);
  request[4] = ONION_LENGTH;
  memcpy(request + 5, name, ONION_LENGTH);
  request[5 + ONION_LENGTH] = PORT >> 8, request[6 + ONION_LENGTH] = PORT & 255;
  if (!put(try, request, sizeof request)) return "proxy-failed";
  if (!take(try, answer, 4)) return milliseconds() >= try->late ? "connect-timeout" : "proxy-failed";
  if (answer[1] != 0) return explain(answer[1]);
  size_t length = answer[3] == 1 ? 4 : 16;
  if (answer[3] == 3 && take(try, rest, 1)) length = rest[0];
  return take(try, rest, length) && take(try, rest, 2) ? NULL : "proxy-failed";
}

/* Sends HELLO and PING (docs/protocol.md). Returns the problem, or NULL and the time from PING to PONG. */
static const char *greet(struct try *try, const char *name, long *took) {
  char line[128];
  int length = snprintf(line, sizeof line, "8;asfaleia/1;%s\n", name);
  if (!put(try, line, (size_t)length) || !take_line(try, line, sizeof line)) return "no-answer";
  if (strncmp(line, "18;", 3) != 0) return "refused";
  long sent = milliseconds();
  if (!put(try, "7\n", 2) || !take_line(try, line, sizeof line)) return "no-answer";
  if (strcmp(line, "17") != 0) return "refused";
  *took = milliseconds() - sent;
  return NULL;
}

static const char *try_ourselves(const char *name, long *took) {
  struct try try = {.socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), .late = milliseconds() + TRY_MS};
  if (try.socket < 0) return "proxy-down";
  const char *problem = connect_through(&try, name);
  if (problem == NULL) {
    try.late = milliseconds() + TRY_MS;
    problem = greet(&try, name, took);
  }
  close(try.socket);
  return problem;
}

/* Parses a time as the relay does (30s, 5m, 1h). Returns seconds. */
static long probe_seconds(void) {
  const char *text = getenv("ASFALEIA_PROBE_EVERY");
  char *unit;
  if (text == NULL) return PROBE_S;
  long number = strtol(text, &unit, 10);
  long factor = strcmp(unit, "s") == 0 ? 1 : strcmp(unit, "m") == 0 ? 60 : strcmp(unit, "h") == 0 ? 3600 : 0;
  return number < 1 || number > 86400 || factor == 0 ? PROBE_S : number * factor;
}

/* Runs in a process of its own, so that nothing waits for a slow probe. */
static void probe_forever(void) {
  char name[ONION_LENGTH + 1];
  long every = probe_seconds();
  for (int tries = 0;;) {
    long took = 0;
    const char *problem = read_name(NAME, name) ? try_ourselves(name, &took) : "onion-not-found";
    tries = problem == NULL || tries > 9998 ? 0 : tries + 1;
    if (problem == NULL) (void)publish(REACHED, REACHED ".new", "reached %ld\n", took);
    else (void)publish(REACHED, REACHED ".new", "failed %d %s\n", tries, problem);
    /* A tenth more or less, so that outsiders cannot predict the moment. */
    unsigned char drawn = 0;
    (void)!getrandom(&drawn, 1, 0);
    long wait = (problem == NULL ? every * 1000 : every * 1000 / SOONER) * (900 + drawn * 200L / 255) / 1000;
    struct timespec pause = {.tv_sec = wait / 1000, .tv_nsec = wait % 1000 * 1000000};
    nanosleep(&pause, NULL);
  }
}

/*
 * Checks the length of a key and the header that tor puts before it. Tor would silently write a new key over a damaged
 * one, and the address would be lost. So tor does not start, and the file stays as it is.
 */
static bool check_key(const char *path) {
  static const char header[] = "== ed25519v1-secret: type0 ==";
  char begin[sizeof header - 1];
  struct stat key;
  if (lstat(path, &key) != 0 && errno == ENOENT) return true;
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  bool sound = file >= 0 && fstat(file, &key) == 0 && S_ISREG(key.st_mode) && key.st_size == 96 &&
               read(file, begin, sizeof begin) == (ssize_t)sizeof begin && memcmp(begin, header, sizeof begin) == 0;
  if (file >= 0) close(file);
  if (sound) return true;
  say("error: %s is damaged, or cannot be read; it is left as it is, and tor is not started", path);
  say("hint: restore the keys from a backup (docs/appliance.md), or give the file back to user %d", geteuid());
  return false;
}

static bool is_full(const char *path) {
  struct statvfs space;
  return statvfs(path, &space) == 0 && (space.f_bavail == 0 || (space.f_files > 0 && space.f_favail == 0));
}

/* Prints a hint after tor has ended by an error of its own. */
static void hint_at_end(void) {
  if (is_full(DATA)) say("hint: the volume of the onion service's keys, " DATA ", is full: make room on its disk");
  else if (is_full("/run/tor")) say("hint: /run/tor is full: give its tmpfs a larger size= in docker-compose.yml");
  else say("hint: if tor names a key, restore the keys from a backup (docs/appliance.md, \"Restore the keys\")");
}

/* The state of the loop of `run`. */
struct watch {
  char name[ONION_LENGTH + 1];
  char left[ONION_LENGTH + 1];
  bool found;          /* whether clients can find the service */
  int pending;         /* uploads of the descriptor that have begun and not ended */
  int uploaded;
  int percent;
  time_t progressed;
  bool complained;
  bool renewed;        /* whether tor published a descriptor that its own client has not fetched */
  struct phase now;    /* tor's last answer, */
  time_t answered;     /* and its time */
};

static void hear_event(void *state, const char *line) {
  struct watch *watch = state;
  struct phase phase = {.percent = -1};
  hear_phase(&phase, line);
  if (phase.percent >= 0) watch->now = phase, watch->answered = seconds();
  if (phase.percent > watch->percent) {
    watch->percent = phase.percent;
    watch->progressed = seconds();
    say("Tor %d %% (%s)", phase.percent, phase.tag);
  }
  if (strncmp(line, "650 HS_DESC ", 12) != 0) return;
  const char *action = line + 12;
  const char *whose = strchr(action, ' ');
  /* The event is about another service. */
  if (whose == NULL || strncmp(whose + 1, watch->name, ONION_LENGTH - 6) != 0) return;
  if (strncmp(action, "UPLOAD ", 7) == 0) watch->pending++;
  else if (strncmp(action, "UPLOADED ", 9) == 0) watch->pending--, watch->uploaded++, watch->renewed = true;
  else if (strncmp(action, "FAILED ", 7) == 0) watch->pending--;
  watch->found = watch->uploaded >= ENOUGH_UPLOADS || (watch->uploaded > 0 && watch->pending <= 0);
}

static bool relay_is_there(void) {
  struct stat door;
  return stat(DOORS "/raw", &door) == 0 && S_ISSOCK(door.st_mode);
}

static void announce(const char *name) {
  printf("\n"
         "asfaleia: the relay is there for everybody who has this address:\n"
         "\n"
         "  %s\n"
         "\n"
         "next, in a checkout on any machine that runs Tor, a message to yourself:\n"
         "\n"
         "  npx asfaleia key --out my-key\n"
         "  npx asfaleia send --relay %s:3308 --key my-key my-key.pub 'hello'\n"
         "  npx asfaleia get --relay %s:3308 --key my-key\n"
         "\n", name, name, name);
  fflush(stdout);
}

/* Starts a program that ends when this one does. */
static pid_t start(void (*program)(void), const sigset_t *handled) {
  pid_t us = getpid();
  pid_t child = fork();
  if (child != 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != us) _exit(1);
  sigprocmask(SIG_UNBLOCK, handled, NULL);
  program();
  _exit(127);
}

static void run_tor(void) {
  execl("/usr/sbin/tor", "tor", "--defaults-torrc", "/etc/tor/defaults", "-f", TORRC, (char *)NULL);
}

/* Publishes the service's names if they changed; true if the address is new. */
static bool follow_names(struct watch *watch) {
  char name[ONION_LENGTH + 1], left[ONION_LENGTH + 1];
  if (!read_names(name, left)) return false;
  if (strcmp(name, watch->name) == 0 && strcmp(left, watch->left) == 0) return false;
  if (!publish_names(name, left)) return false;
  bool other = strcmp(name, watch->name) != 0;
  memcpy(watch->name, name, sizeof name);
  memcpy(watch->left, left, sizeof left);
  return other;
}

/*
 * Returns when a membership ends, from its file NAME--until-YYYYMMDDHHMMSS.auth (`asfaleia invite --until`); 0 for
 * never.
 */
static time_t end_of(const char *file) {
  static const char until[] = "--until-";
  const char *digits = NULL;
  for (const char *at = file; (at = strstr(at, until)) != NULL; at++) digits = at + sizeof until - 1;
  struct tm end = {0};
  if (digits == NULL || strspn(digits, "0123456789") != 14 || strcmp(digits + 14, ".auth") != 0) return 0;
  if (sscanf(digits, "%4d%2d%2d%2d%2d%2d", &end.tm_year, &end.tm_mon, &end.tm_mday, &end.tm_hour, &end.tm_min, &end.tm_sec) != 6) return 0;
  end.tm_year -= 1900, end.tm_mon -= 1;
  return timegm(&end);
}

/*
 * Writes the key of a client that does not exist, which keeps a service without members closed, as `asfaleia member`
 * does.
 */
static bool close_service(const char *members) {
  unsigned char drawn[51];
  char path[PATH_MAX], beside[PATH_MAX], key[sizeof drawn + 1];
  if (getrandom(drawn, sizeof drawn, 0) != sizeof drawn) return false;
  for (size_t i = 0; i < sizeof drawn; i++) key[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[drawn[i] & 31];
  key[sizeof drawn] = 'A';
  snprintf(path, sizeof path, "%s/nobody.auth", members), snprintf(beside, sizeof beside, "%s/nobody.new", members);
  return publish(path, beside, "descriptor:x25519:%.52s\n", key);
}

/* Moves files of memberships from one folder to another: those that are over, or those that are not. */
static int move_members(const char *from, const char *to, bool over) {
  char source[PATH_MAX], target[PATH_MAX];
  int moved = 0;
  DIR *open = opendir(from);
  if (open == NULL) return 0;
  for (struct dirent *entry; (entry = readdir(open)) != NULL;) {
    time_t end = end_of(entry->d_name);
    if (end == 0 || (end <= time(NULL)) != over) continue;
    snprintf(source, sizeof source, "%s/%s", from, entry->d_name), snprintf(target, sizeof target, "%s/%s", to, entry->d_name);
    if (rename(source, target) == 0) moved++;
  }
  closedir(open);
  return moved;
}

/*
 * Takes the files of memberships that are over away to OVER. The look at the folders then finds a change, and has tor
 * reload. They stay there for some time, and come back if the clock was wrong, so that a jump of it ends no membership
 * for good.
 */
static void end_memberships(const char *members) {
  int going = 0, staying = 0;
  DIR *open = opendir(members);
  if (open == NULL) return;
  for (struct dirent *entry; (entry = readdir(open)) != NULL;) {
    size_t length = strlen(entry->d_name);
    if (length <= 5 || strcmp(entry->d_name + length - 5, ".auth") != 0) continue;
    time_t end = end_of(entry->d_name);
    if (end == 0 || end > time(NULL)) staying++;
    else going++;
  }
  closedir(open);
  if (going == 0 || (staying == 0 && !close_service(members)) || (mkdir(OVER, 0700) != 0 && errno != EEXIST)) return;
  int moved = move_members(members, OVER, true);
  if (moved > 0) say("%d membership%s over", moved, moved == 1 ? " is" : "s are");
}

static void follow_memberships(void) {
  end_memberships(MEMBERS);
  end_memberships(NEXT_MEMBERS);
  (void)move_members(OVER, MEMBERS, false);
  DIR *open = opendir(OVER);
  if (open == NULL) return;
  for (struct dirent *entry; (entry = readdir(open)) != NULL;) {
    time_t end = end_of(entry->d_name);
    if (end > 0 && end < time(NULL) - OVER_S) (void)unlinkat(dirfd(open), entry->d_name, 0);
  }
  closedir(open);
}

/* Returns a number that changes when a file with this ending comes, goes or changes; 0 if there is none. */
static uint64_t look_into(const char *folder, const char *ending) {
  uint64_t all = 0;
  DIR *open = opendir(folder);
  if (open == NULL) return 0;
  for (struct dirent *entry; (entry = readdir(open)) != NULL;) {
    struct stat file;
    size_t length = strlen(entry->d_name), tail = strlen(ending);
    if (length <= tail || strcmp(entry->d_name + length - tail, ending) != 0) continue;
    if (fstatat(dirfd(open), entry->d_name, &file, 0) != 0) continue;
    uint64_t facts[] = {file.st_ino, (uint64_t)file.st_size, (uint64_t)file.st_ctim.tv_sec, (uint64_t)file.st_ctim.tv_nsec};
    /* FNV-1a of the name and the facts; a sum, because a folder has no order. */
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)entry->d_name[i]) * 0x100000001b3;
    for (size_t i = 0; i < sizeof facts; i++) hash = (hash ^ ((unsigned char *)facts)[i]) * 0x100000001b3;
    all += hash;
  }
  closedir(open);
  return all;
}

/* Returns a number that changes when tor has to reload. It ignores the files that tor writes at its first start. */
static uint64_t look_around(void) {
  bool next = access(NEXT_HOSTNAME, F_OK) == 0;
  uint64_t services = next ? 1 + (access(HOSTNAME, F_OK) == 0) : 0;
  return services + look_into(MEMBERS, ".auth") + 3 * look_into(NEXT_MEMBERS, ".auth") +
         5 * look_into(CLIENTS, ".auth_private");
}

static void publish_state(const struct watch *watch) {
  if (watch->answered == 0 || seconds() - watch->answered > SILENT_S) (void)publish(STATE, STATE ".new", "silent\n");
  else (void)publish(STATE, STATE ".new", "%d %s\n", watch->now.percent, watch->now.tag[0] == '\0' ? "other" : watch->now.tag);
}

/* Has tor reload its torrc and the folders of its services; false if the lines for NEXT cannot be written. */
static bool reload(pid_t tor, struct watch *watch, bool *announced) {
  if (!arrange_services()) return false;
  kill(tor, SIGHUP);
  if (follow_names(watch)) {
    *announced = watch->found = false;
    watch->pending = watch->uploaded = 0;
  }
  return true;
}

static int run(void) {
  if (!check_folders()) return 78;
  if (!check_key(SERVICE "/hs_ed25519_secret_key") || !check_key(NEXT "/hs_ed25519_secret_key")) return 78;
  (void)unlink(REACHED);
  (void)unlink(STATE);
  if (!arrange_services()) {
    say("error: the lines for the second service in " NEXT " could not be written (%s)", strerror(errno));
    return 78;
  }
  sigset_t handled;
  sigemptyset(&handled);
  const int handed_on[] = {SIGTERM, SIGINT, SIGHUP};
  for (size_t i = 0; i < sizeof handed_on / sizeof *handed_on; i++) sigaddset(&handled, handed_on[i]);
  sigaddset(&handled, SIGCHLD);
  sigprocmask(SIG_BLOCK, &handled, NULL);
  int signals = signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK);

  /* The folders as tor read them, and as they were at the last look: a command may still be at work in them. */
  follow_memberships();
  uint64_t loaded = look_around(), before = loaded;
  pid_t tor = start(run_tor, &handled);
  pid_t prober = 0;
  if (signals < 0 || tor < 0) {
    say("error: tor could not be started");
    return 71;
  }

  struct watch watch = {.progressed = seconds()};
  struct control control = {.socket = -1};
  bool announced = false, refused = false, missed = false;
  long look_at = 0;
  time_t ask_at = 0, there_at = seconds();
  for (;;) {
    struct pollfd waiting[] = {{.fd = signals, .events = POLLIN}, {.fd = control.socket, .events = POLLIN}};
    poll(waiting, 2, announced ? LOOK_MS : TICK_MS);

    struct signalfd_siginfo signal;
    while (read(signals, &signal, sizeof signal) == sizeof signal) {
      int status;
      if (signal.ssi_signo == SIGHUP) (void)reload(tor, &watch, &announced);
      else if (signal.ssi_signo != SIGCHLD) kill(tor, (int)signal.ssi_signo);
      for (pid_t ended; signal.ssi_signo == SIGCHLD && (ended = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (ended == prober) prober = 0;
        if (ended != tor) continue;
        if (WIFEXITED(status) && WEXITSTATUS(status) != 0) say("error: tor ended with exit code %d; see its words above", WEXITSTATUS(status)), hint_at_end();
        if (WIFEXITED(status)) return WEXITSTATUS(status);
        say("error: tor was killed by signal %d", WTERMSIG(status));
        return 128 + WTERMSIG(status);
      }
    }
    if (control.socket < 0) {
      /* Tor opens the socket some time after its start. The question brings the first steps. */
      if (open_control(&control)) tell(&control, "SETEVENTS STATUS_CLIENT HS_DESC\r\nGETINFO status/bootstrap-phase\r\n");
    } else if (waiting[1].revents != 0 && !read_control(&control, hear_event, &watch)) {
      close(control.socket);
      control.socket = -1;
    }
    /*
     * Else the probe would use the descriptor that tor's client fetched before, which others may not be able to read
     * now.
     */
    if (watch.renewed && control.socket >= 0 && tell(&control, "SIGNAL NEWNYM\r\n")) watch.renewed = false;
    if (watch.name[0] == '\0') (void)follow_names(&watch);
    if (seconds() >= ask_at) {
      publish_state(&watch);
      if (control.socket >= 0) (void)tell(&control, "GETINFO status/bootstrap-phase\r\n");
      ask_at = seconds() + ASK_S;
    }
    /* Tor ends at a SIGHUP before it has begun to listen. */
    if (control.socket >= 0 && milliseconds() >= look_at) {
      follow_memberships();
      uint64_t now = look_around();
      if (now != loaded && now == before) {
        if (reload(tor, &watch, &announced)) {
          say("the folders of the onion service have changed: tor reloads them");
          /* If NEXT moved to its place, that is a change, too. */
          loaded = now = look_around();
          refused = false;
        } else if (!refused) {
          say("error: the second service in " NEXT " cannot be arranged (%s)", strerror(errno));
          say("hint: remove files that are not tor's from " SERVICE);
          refused = true;
        }
      }
      before = now;
      if (relay_is_there()) there_at = seconds(), missed = false;
      else if (announced && !missed && seconds() - there_at > MISSING_S) {
        say("error: the relay's socket " DOORS "/raw is missing, and nobody can reach the relay");
        say("hint: if the relay still runs, deploy/upgrade makes the socket anew and keeps the messages");
        missed = true;
      }
      look_at = milliseconds() + LOOK_MS;
    }
    if (!announced && watch.found && watch.name[0] != '\0' && relay_is_there()) {
      announce(watch.name);
      announced = true;
      if (prober <= 0) prober = start(probe_forever, &handled);
    }
    if (!announced && !watch.complained && watch.percent < 100 && seconds() - watch.progressed > PATIENCE_S) {
      say("Tor does not get on: is there a network, and does it let Tor through? It keeps trying");
      watch.complained = true;
    }
  }
}

/*
 * Ends no sooner than STAY_MS after it began: `docker compose up` may fail if a container ends before it could attach to
 * it, and Compose 2.26 then kills all containers, with the messages of the relay.
 */
static int run_for_a_while(void) {
  long began = milliseconds();
  int code = run();
  long left = began + STAY_MS - milliseconds();
  if (left > 0) poll(NULL, 0, (int)left);
  return code;
}

int main(int count, char **words) {
  if (count == 1) return run_for_a_while();
  if (count == 2 && strcmp(words[1], "check") == 0) return check();
  if (count == 2 && strcmp(words[1], "address") == 0) return address();
  say("error: entry takes nothing, check or address");
  return 2;
}

/*
 * Starts tor in its container, gives the relay the service's name, and tells a person the address once the
 * service can be found. Written in C so that the image has neither a shell nor a Node beside tor.
 *
 *   entry          run tor: hands signals on, publishes the name, ends when tor ends, with tor's exit code
 *   entry check    for the health check: one line on how far tor is; 0 if it is on line, 1 if not
 *   entry address  print the service's address; 1 if there is none yet
 *
 * It asks tor's control socket (control-spec.txt: AUTHENTICATE, SETEVENTS HS_DESC, GETINFO
 * status/bootstrap-phase) and nothing else, gives out nothing of the service's folder but the file
 * `hostname`, and never reads a key.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DATA "/var/lib/tor"
#define HOSTNAME DATA "/onion/hostname"
#define CONTROL "/run/tor/control"
#define COOKIE "/run/tor/cookie"
#define DOORS "/run/asfaleia"
#define NAMES "/run/name"
#define NAME NAMES "/hostname"

/* An address of version 3: 56 characters of base32, ".onion". */
#define ONION_LENGTH 62
/* Descriptor uploads that will do: a client asks several of the eight and more directories. */
#define ENOUGH_UPLOADS 6
#define TICK_MS 50
/* Tor without a step forward for so long most likely has no network. */
#define PATIENCE_S 60
#define CHECK_S 5

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

/* Reads a file that holds one onion address. */
static bool read_name(const char *path, char name[ONION_LENGTH + 1]) {
  char text[ONION_LENGTH + 2];
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

/* Puts the name where the relay reads it: all of it or nothing. */
static bool publish_name(const char *name) {
  int file = open(NAME ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return false;
  bool written = dprintf(file, "%s\n", name) == ONION_LENGTH + 1;
  return close(file) == 0 && written && rename(NAME ".new", NAME) == 0;
}

/* A connection to tor's control socket; lines that are longer than the buffer are cut. */
struct control {
  int socket;
  size_t length;
  char line[1024];
};

static bool tell(struct control *control, const char *command) {
  size_t length = strlen(command);
  return send(control->socket, command, length, MSG_NOSIGNAL) == (ssize_t)length;
}

/* Connects, and proves by tor's cookie that we may. The answer comes as a line like any other. */
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

/* Calls `hear` with every whole line that has come; false when the connection has ended. */
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

/* What tor said of its start: percent, and its tag of the phase (letters and underscores). */
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

/* What is wrong with the folders that compose mounts, each with what to do about it. */
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

/* Everything that the loop of `run` knows. */
struct watch {
  bool found;          /* the service can be found by clients */
  int pending;         /* descriptor uploads begun */
  int uploaded;
  int percent;
  time_t progressed;
  bool complained;
};

static void hear_event(void *state, const char *line) {
  struct watch *watch = state;
  struct phase phase = {.percent = -1};
  hear_phase(&phase, line);
  if (phase.percent > watch->percent) {
    watch->percent = phase.percent;
    watch->progressed = seconds();
    say("Tor %d %% (%s)", phase.percent, phase.tag);
  }
  if (strncmp(line, "650 HS_DESC ", 12) != 0) return;
  const char *action = line + 12;
  if (strncmp(action, "UPLOAD ", 7) == 0) watch->pending++;
  else if (strncmp(action, "UPLOADED ", 9) == 0) watch->pending--, watch->uploaded++;
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

static int run(void) {
  if (!check_folders()) return 78;
  sigset_t handled;
  sigemptyset(&handled);
  const int handed_on[] = {SIGTERM, SIGINT, SIGHUP};
  for (size_t i = 0; i < sizeof handed_on / sizeof *handed_on; i++) sigaddset(&handled, handed_on[i]);
  sigaddset(&handled, SIGCHLD);
  sigprocmask(SIG_BLOCK, &handled, NULL);
  int signals = signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK);

  pid_t us = getpid();
  pid_t tor = fork();
  if (tor == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != us) _exit(1);
    sigprocmask(SIG_UNBLOCK, &handled, NULL);
    execl("/usr/sbin/tor", "tor", "--defaults-torrc", "/etc/tor/defaults", "-f", "/etc/tor/torrc", (char *)NULL);
    _exit(127);
  }
  if (signals < 0 || tor < 0) {
    say("error: tor could not be started");
    return 71;
  }

  struct watch watch = {.progressed = seconds()};
  struct control control = {.socket = -1};
  char name[ONION_LENGTH + 1] = "";
  bool announced = false;
  for (;;) {
    /* A tick only as long as there is something to wait for that no descriptor tells of. */
    struct pollfd waiting[] = {{.fd = signals, .events = POLLIN}, {.fd = control.socket, .events = POLLIN}};
    poll(waiting, 2, announced ? -1 : TICK_MS);

    struct signalfd_siginfo signal;
    while (read(signals, &signal, sizeof signal) == sizeof signal) {
      int status;
      if (signal.ssi_signo != SIGCHLD) {
        kill(tor, (int)signal.ssi_signo);
      } else if (waitpid(tor, &status, WNOHANG) == tor) {
        if (WIFEXITED(status)) return WEXITSTATUS(status);
        say("error: tor was killed by signal %d", WTERMSIG(status));
        return 128 + WTERMSIG(status);
      }
    }
    if (control.socket < 0) {
      /* Tor writes its cookie and opens the socket some time after its start; what it said of the first steps is asked for. */
      if (open_control(&control)) tell(&control, "SETEVENTS STATUS_CLIENT HS_DESC\r\nGETINFO status/bootstrap-phase\r\n");
    } else if (waiting[1].revents != 0 && !read_control(&control, hear_event, &watch)) {
      close(control.socket);
      control.socket = -1;
    }
    if (name[0] == '\0' && read_name(HOSTNAME, name) && !publish_name(name)) name[0] = '\0';
    if (!announced && watch.found && name[0] != '\0' && relay_is_there()) {
      announce(name);
      announced = true;
    }
    if (!announced && !watch.complained && watch.percent < 100 && seconds() - watch.progressed > PATIENCE_S) {
      say("Tor does not get on: is there a network, and does it let Tor through? It keeps trying");
      watch.complained = true;
    }
  }
}

int main(int count, char **words) {
  if (count == 1) return run();
  if (count == 2 && strcmp(words[1], "check") == 0) return check();
  if (count == 2 && strcmp(words[1], "address") == 0) return address();
  say("error: entry takes nothing, check or address");
  return 2;
}

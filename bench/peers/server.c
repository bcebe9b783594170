/* server: a Modbus TCP server with as little work per request as possible. It prints its port. All complete requests of one
   read are answered with one write; each is treated as a read of registers, whose values are all 0. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static unsigned char in[65536], out[1 << 20];

static void serve(int c) {
  for (size_t have = 0;;) {
    ssize_t n = read(c, in + have, sizeof in - have);
    if (n <= 0) return;
    have += n;
    size_t at = 0, size = 0;
    for (; have - at >= 12; at += 12) {
      unsigned char *a = out + size;
      int bytes = 2 * (in[at + 10] << 8 | in[at + 11]);
      memcpy(a, in + at, 8);
      a[4] = (bytes + 3) >> 8, a[5] = bytes + 3, a[8] = bytes;
      memset(a + 9, 0, bytes);
      size += 9 + bytes;
    }
    memmove(in, in + at, have - at);
    have -= at;
    for (size_t done = 0; done < size;) {
      n = write(c, out + done, size - done);
      if (n <= 0) return;
      done += n;
    }
  }
}

int main(void) {
  int one = 1, l = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof a;
  if (bind(l, (void *)&a, size) || listen(l, 8) || getsockname(l, (void *)&a, &size)) return 1;
  printf("%d\n", ntohs(a.sin_port));
  fflush(stdout);
  for (;;) {
    int c = accept(l, 0, 0);
    if (c < 0) return 1;
    setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    serve(c);
    close(c);
  }
}

/* Reads messages, each after its length in 2 octets, and answers each with what asn1c's encoder makes of what its decoder has read:
   from PER if called with "per", from XML if called with "xml". A length of 0 says that it cannot be read. With "show", the answer
   is XML. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <Message.h>

static int append(const void *p, size_t n, void *key) { return fwrite(p, 1, n, (FILE *)key) == n ? 0 : -1; }

int main(int argc, char **argv) {
	const char *mode = argc > 1 ? argv[1] : "";
	unsigned char head[2];
	static unsigned char in[65536], out[131072];
	while (fread(head, 1, 2, stdin) == 2) {
		size_t n = head[0] << 8 | head[1], m = 0;
		Message_t *msg = NULL;
		asn_dec_rval_t r;
		if (fread(in, 1, n, stdin) != n) return 1;
		if (strcmp(mode, "xml") == 0)
			r = xer_decode(0, &asn_DEF_Message, (void **)&msg, in, n);
		else
			r = uper_decode_complete(0, &asn_DEF_Message, (void **)&msg, in, n);
		if (r.code == RC_OK && strcmp(mode, "show") == 0) {
			FILE *f = fmemopen(out, sizeof out, "w");
			xer_encode(&asn_DEF_Message, msg, XER_F_CANONICAL, append, f);
			m = ftell(f);
			fclose(f);
		} else if (r.code == RC_OK) {
			asn_enc_rval_t e = uper_encode_to_buffer(&asn_DEF_Message, msg, out, sizeof out);
			if (e.encoded > 0) m = (e.encoded + 7) / 8;
		}
		head[0] = m >> 8, head[1] = m;
		fwrite(head, 1, 2, stdout);
		fwrite(out, 1, m, stdout);
		fflush(stdout);
		ASN_STRUCT_FREE(asn_DEF_Message, msg);
	}
	return 0;
}

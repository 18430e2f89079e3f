/*
 * The smallest provider of security labels: it lets everybody say anything. Compiled without the server's headers, for the
 * fetched servers come without them; MAJOR says which server it is for.
 *
 * The magic block is `Pg_magic_struct` of src/include/fmgr.h, the function `register_label_provider` of
 * src/backend/commands/seclabel.c.
 */
typedef void (*check_label)(const void *object, const char *label);
extern void register_label_provider(const char *provider, check_label check);

typedef struct {
	int len;
#if MAJOR >= 18
	int version, funcmaxargs, indexmaxkeys, namedatalen, float8byval;
	char abi_extra[32];
	const char *name, *library_version;
#else
	int version, funcmaxargs, indexmaxkeys, namedatalen;
#if MAJOR < 13
	int float4byval;
#endif
	int float8byval;
#if MAJOR >= 15
	char abi_extra[32];
#endif
#endif
} magic;

const magic *Pg_magic_func(void)
{
	static const magic block = {
		.len = sizeof(magic),
		.version = MAJOR * 100,
		.funcmaxargs = 100,
		.indexmaxkeys = 32,
		.namedatalen = 64,
#if MAJOR < 13
		.float4byval = 1,
#endif
		.float8byval = 1,
#if MAJOR >= 15
		.abi_extra = "PostgreSQL",
#endif
	};
	return &block;
}

static void anything_goes(const void *object, const char *label)
{
	(void) object;
	(void) label;
}

void _PG_init(void)
{
	register_label_provider("kinds", anything_goes);
	register_label_provider("Kinds; 'two'", anything_goes);
}

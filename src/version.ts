/** The version of this package, as its package.json states it. It must know nothing else. */
import { readFileSync } from 'node:fs'

// The same relative place from src/ and from dist/.
const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

export const PACKAGE_VERSION: string = manifest.version

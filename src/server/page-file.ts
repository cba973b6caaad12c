/** The web page that the relay offers: one file of the build, read at the start and kept once raw and once compressed. */
import { createHash } from 'node:crypto'
import { statSync, readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { PAGE_BYTES } from '../relay/footprint.ts'
import type { WebPage } from '../transport/page.ts'
import type { PageProblem } from './page-problem.ts'

/** The build writes the policy first (deploy/page.ts). A file without it is not the web page. */
const HEAD =
  /^<!doctype html>\n<html lang="en">\n<head>\n<meta http-equiv="content-security-policy" content="(default-src 'none'; [^"\r\n]+)">\n/

/** Reads the web page. Returns the reason if it cannot be offered. */
export function readPageFile(path: string): WebPage | PageProblem {
  try {
    if (statSync(path).size > PAGE_BYTES) return 'too-large'
    const bytes = readFileSync(path)
    const [, policy] = HEAD.exec(bytes.toString('latin1', 0, 2_048)) ?? []
    if (policy === undefined) return 'damaged'
    const compressed = gzipSync(bytes, { level: 9 })
    if (bytes.length + compressed.length > PAGE_BYTES) return 'too-large'
    return { bytes, compressed, policy, sha256: createHash('sha256').update(bytes).digest('hex') }
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'missing' : 'unreadable'
  }
}

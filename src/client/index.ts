/**
 * The public names of the package `asfaleia`, for Node: the core, private key files, a client of ssh-agent, and profiles
 * of the command line.
 */
export * from './core.ts'
export { type FilePrivateKey, generatePrivateKey, parsePrivateKey, readPrivateKey } from '../auth/private-key.ts'
export { AgentError, type AgentErrorCode, type AgentKey, type AgentOptions, SshAgent } from '../auth/agent.ts'
export { type ContactRequest, openProfile, type OpenProfile, type ProfileOptions, type RequestMessage } from '../cli/talk/library.ts'

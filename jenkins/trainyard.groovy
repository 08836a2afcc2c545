// What the Jenkinsfiles share: they `load` this file and call its methods. Groovy says when and where; what happens
// is in pipelines/, and every stage is one call of `trainyard step`. Everything here is allowed in Jenkins' script
// sandbox.
//
// A workspace holds `pipeline/` (this repository), `watched/` (the one whose pushes start the job; only Jenkins
// reads it) and `build/` (what the steps leave for Jenkins: see pipelines/build_status.py). The run itself lies in
// Trainyard's home.

import groovy.transform.Field

@Field List waits = [15, 60, 240] // seconds, before a step that may succeed later is started again
@Field boolean begun = false
@Field String watched = '' // the commit at the head of the watched repository

// The first stage: sees the watched repository, so that Jenkins knows what its next push changes, and sets up the
// agent.
void begin() {
    begun = true
    env.STOPPED_BY = '' // "Restart from Stage" brings along that of the other build
    dir('build') { deleteDir() } // of the build before
    if (params.WATCHED_URL) { // first of all that may fail: Jenkins polls only what it has seen
        Map seen = [:]
        dir('watched') { seen = look(params.WATCHED_URL, params.WATCHED_BRANCH ?: 'main') }
        watched = seen.GIT_COMMIT // here: a closure would set a variable of the script instead of the field
    }
    int code = insist('pipeline/jenkins/prepare')
    if (code != 0) {
        sayCode(code)
        error("the agent could not be prepared: ${meaning(code)}")
    }
}

// A step of the run. One that fails leaves its stage red and lets the pipeline go on to `notify`.
void perform(String name, String trigger = '') {
    if (!begun) { goOn() }
    int code = 0
    withEnv(["STEP=${name}"] + asked(name, trigger)) {
        withSecrets(name) { code = interruptible(name) }
    }
    tell()
    if (name == 'resolve') { stash(name: 'run', includes: 'build/run.txt', allowEmpty: true) }
    judge(name, code)
}

// Whether a stage has something to do: no for all after a failure, a no or "nothing new".
boolean goesOn() {
    if (params.ONLY_PREPARE) { return false }
    if (!begun) { goOn() }
    return currentBuild.currentResult == 'SUCCESS' && !fileExists('build/decided')
}

// Whether there is a run to tell of.
boolean hasNews() {
    if (params.ONLY_PREPARE) { return false }
    if (!begun) { goOn() }
    return fileExists('build/run.txt')
}

// A build that somebody aborted, or that took too long. Its run goes on with the next build of the same sources.
void stopped() {
    if (!fileExists('build/run.txt')) { return }
    String script = 'pipeline/jenkins/trainyard step notify --build build --stopped="$STOPPED"'
    withEnv(["STOPPED=${env.STOPPED_BY ?: 'aborted'}, ${env.BUILD_URL ?: env.BUILD_TAG}"]) {
        withSecrets('notify') {
            int code = sh(script: script, returnStatus: true)
            if (code != 0) { echo("notify: ${meaning(code)}") }
        }
    }
    tell()
}

// What Jenkins keeps and draws. The exit codes have judged already: a failed test case changes no result.
void publish() {
    junit(testResults: 'build/report/junit/*.xml', allowEmptyResults: true, skipPublishingChecks: true,
        skipMarkingBuildUnstable: true)
    archiveArtifacts(artifacts: 'build/report/**', allowEmptyArchive: true)
}

// Promotion: `action` is promote or rollback. The approval token, when there is one, is in the environment already;
// else `approver` has said yes in Jenkins. Nothing of it is seen in the console: `set +x` comes before any of it is
// touched.
void release(String action, String approver) {
    begin()
    currentBuild.displayName = "#${env.BUILD_NUMBER} ${action} ${params.MODEL} ${params.VERSION}"
    String script = 'set +x; export TRAINYARD_APPROVAL="$APPROVAL"; ' +
        'pipeline/jenkins/trainyard promote "$MODEL" "$VERSION" --here --by="$BY"'
    if (approver) { script = 'pipeline/jenkins/trainyard promote "$MODEL" "$VERSION" --here --approved-by="$BY"' }
    if (action == 'rollback') {
        script = 'pipeline/jenkins/trainyard rollback "$MODEL" --here --by="$BY" ' +
            '${VERSION:+--to="$VERSION"} ${REASON:+--reason="$REASON"}'
    }
    int code = 0
    withEnv(["BY=${approver ?: starter()}"]) {
        withSecrets('notify') { code = insist(script) }
    }
    currentBuild.description = "${action} ${params.MODEL} ${params.VERSION}: ${meaning(code)}"
    judge(action, code)
}

// --- below: only for the methods above -------------------------------------------------------------------------------

Map look(String url, String branch) {
    Map repository = [
        name: 'origin',
        url: url,
        refspec: "+refs/heads/${branch}:refs/remotes/origin/${branch}",
        credentialsId: params.GIT_CREDENTIALS ?: '',
    ]
    return checkout(scm: scmGit(
        branches: [[name: "refs/heads/${branch}"]],
        extensions: [cloneOption(shallow: true, depth: 1, noTags: true, honorRefspec: true, reference: '')],
        userRemoteConfigs: [repository]
    ), poll: true, changelog: true)
}

// "Restart from Stage": the stages before belong to another build, and so may the files of this workspace. Jenkins
// gives us that build's stash, which names the run; without it the step says what to do.
void goOn() {
    begin()
    catchError(buildResult: 'SUCCESS', stageResult: 'SUCCESS', catchInterruptions: false) { unstash('run') }
}

// Environment for the shell, which sees no text that was put together here.
List asked(String name, String trigger) {
    if (name != 'resolve') { return [] }
    boolean scheduled = !currentBuild.getBuildCauses('hudson.triggers.TimerTrigger$TimerTriggerCause').isEmpty()
    return [
        "TRIGGER=${trigger}",
        "COMMIT=${params.COMMIT ?: watched}",
        "FORCE=${params.FORCE || scheduled ? 'yes' : ''}",
        "REASON=${params.REASON ?: (scheduled ? 'scheduled' : '')}",
    ]
}

int interruptible(String name) {
    try {
        if (name == 'resolve') {
            return insist('pipeline/jenkins/trainyard step resolve --build build --trigger "$TRIGGER" ' +
                '${COMMIT:+--commit="$COMMIT"} ${FORCE:+--force} ${REASON:+--reason="$REASON"}')
        }
        return insist('pipeline/jenkins/trainyard step "$STEP" --build build')
    } catch (InterruptedException stop) { // by a person or by a time-out: `stopped` tells who
        env.STOPPED_BY = stop.message
        throw stop
    }
}

// The script's exit code; 75 means that the same may succeed later.
int insist(String script) {
    int code = sh(script: script, returnStatus: true)
    for (int seconds in waits) {
        if (code != 75) { return code }
        echo("exit code 75, to be tried again: waiting ${seconds} s")
        sleep(time: seconds, unit: 'SECONDS')
        code = sh(script: script, returnStatus: true)
    }
    return code
}

void judge(String name, int code) {
    if (code == 3) {
        unstable(message: "${name}: ${meaning(code)}")
    } else if (code != 0) {
        sayCode(code)
        catchError(buildResult: 'FAILURE', stageResult: 'FAILURE', catchInterruptions: false) {
            error("${name}: ${meaning(code)}")
        }
    }
}

// For `trainyard jenkins trigger --wait` and `promote`, which end with the code of the last such line.
void sayCode(int code) { echo("trainyard: exit ${code}") }

String meaning(int code) {
    if (code == 0) { return 'done' }
    if (code == 1) { return 'a bug in Trainyard; the traceback is in the console (exit code 1)' }
    if (code == 2) { return 'a person must change something; the console says what (exit code 2)' }
    if (code == 3) { return 'the answer is no; the description has the reasons (exit code 3)' }
    if (code == 75) { return 'out of reach for now; start the build again later (exit code 75)' }
    return "stopped with exit code ${code}"
}

// Name and description of the build, as the step left them.
void tell() {
    if (fileExists('build/name.txt')) {
        currentBuild.displayName = "#${env.BUILD_NUMBER} ${readFile(file: 'build/name.txt', encoding: 'UTF-8').trim()}"
    }
    if (fileExists('build/description.txt')) {
        currentBuild.description = readFile(file: 'build/description.txt', encoding: 'UTF-8').trim()
    }
}

// Each step sees only the credentials that it needs.
void withSecrets(String name, Closure body) {
    List bound = []
    if (params.GIT_CREDENTIALS && ['resolve', 'fetch'].contains(name)) {
        bound.add(gitUsernamePassword(credentialsId: params.GIT_CREDENTIALS, gitToolName: 'Default'))
    }
    if (params.SMTP_CREDENTIALS && name == 'notify') {
        bound.add(string(credentialsId: params.SMTP_CREDENTIALS, variable: 'TRAINYARD_SMTP_PASSWORD'))
    }
    if (bound.isEmpty()) { body() } else { withCredentials(bound) { body() } }
}

String starter() {
    List causes = currentBuild.getBuildCauses('hudson.model.Cause$UserIdCause')
    return causes.isEmpty() ? 'jenkins' : causes.get(0).userId
}

return this

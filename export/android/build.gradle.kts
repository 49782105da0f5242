buildscript {
    dependencies {
        // The Android plugin compiles Kotlin itself, as of 9.0. Its own version, 2.2, reads
        // no libraries that were made by Kotlin 2.4.
        classpath("org.jetbrains.kotlin:kotlin-gradle-plugin:2.4.20")
    }
}

plugins {
    id("com.android.application") version "9.4.0" apply false
}
